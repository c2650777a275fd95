"""Create a tenant's realm, and delete it as compensation.

in      StepCommanded(workername="realm-service"), step createRealm of tenantCreation
out     StepAnswered
fails   finally, where tenantId is missing or another tenant has the realm's name
"""

from __future__ import annotations

from functions.kit.errors import PermanentError
from functions.realm_service import tables
from functions.realm_service.decide import BadPayload, realm_of
from functions.saga_sdk import Step, Worker

worker = Worker("realm_service")


@worker.do("createRealm")
async def create(step: Step) -> dict[str, str]:
    """Store the realm; createClient needs the result."""
    try:
        realm = realm_of(step.payload, step.key)
    except BadPayload as error:
        raise PermanentError(str(error)) from None
    if not await tables.add(step.tx, realm, step.key):
        raise PermanentError(f"payload.realmName: realm {realm.name!r} exists already")
    return {"realmId": realm.id, "realmName": realm.name}


@worker.undo("createRealm")
async def delete(step: Step) -> None:
    """Delete the realm that this step created."""
    await tables.remove(step.tx, step.key)


realm_service = worker.target(retention=lambda ctx: tables.RETENTION)
