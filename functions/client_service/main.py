"""Create the client in a tenant's realm, and delete it as compensation.

in      StepCommanded(workername="client-service"), step createClient of tenantCreation
out     StepAnswered
fails   finally, where createRealm returned no realm or clientName is no text
"""

from __future__ import annotations

from functions.client_service import tables
from functions.client_service.decide import BadStep, client_of
from functions.kit.errors import PermanentError
from functions.saga_sdk import Step, Worker

worker = Worker("client_service")


@worker.do("createClient")
async def create(step: Step) -> dict[str, str]:
    """Store the client of the realm that createRealm created."""
    try:
        client = client_of(step.payload, step.results, step.key)
    except BadStep as error:
        raise PermanentError(str(error)) from None
    await tables.add(step.tx, client, step.key)
    return {"clientId": client.id}


@worker.undo("createClient")
async def delete(step: Step) -> None:
    """Delete the client that this step created."""
    await tables.remove(step.tx, step.key)


client_service = worker.target(retention=lambda ctx: tables.RETENTION)
