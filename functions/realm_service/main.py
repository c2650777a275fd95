"""Create a tenant's realm, and delete it when the saga turns back.

in      StepCommanded(workername="realm-service"), step createRealm of tenantCreation
out     StepAnswered
fails   a payload without tenantId, or a name that another tenant has, is final: no retry helps
"""

from __future__ import annotations

from functions.kit.errors import PermanentError
from functions.realm_service import tables
from functions.realm_service.decide import BadPayload, realm_of
from functions.saga_sdk import Task, Worker

worker = Worker("realm_service")


@worker.do("createRealm")
async def create(task: Task) -> dict[str, str]:
    """Keep the realm; the result is what createClient needs."""
    try:
        realm = realm_of(task.payload, task.key)
    except BadPayload as error:
        raise PermanentError(str(error)) from None
    if not await tables.add(task.tx, realm, task.key):
        raise PermanentError(f"payload.realmName: realm {realm.name!r} exists already")
    return {"realmId": realm.id, "realmName": realm.name}


@worker.undo("createRealm")
async def delete(task: Task) -> None:
    """Delete the realm that this step made."""
    await tables.remove(task.tx, task.key)


realm_service = worker.target(retention=lambda ctx: tables.RETENTION)
