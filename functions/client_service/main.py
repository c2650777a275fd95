"""Create the client in a tenant's realm, and delete it when the saga turns back.

in      StepCommanded(workername="client-service"), step createClient of tenantCreation
out     StepAnswered
fails   a run whose createRealm gave no realm, or a clientName that is no text, is final
"""

from __future__ import annotations

from functions.client_service import tables
from functions.client_service.decide import BadTask, client_of
from functions.kit.errors import PermanentError
from functions.saga_sdk import Task, Worker

worker = Worker("client_service")


@worker.do("createClient")
async def create(task: Task) -> dict[str, str]:
    """Keep the client of the realm that createRealm made."""
    try:
        client = client_of(task.payload, task.results, task.key)
    except BadTask as error:
        raise PermanentError(str(error)) from None
    await tables.add(task.tx, client, task.key)
    return {"clientId": client.id}


@worker.undo("createClient")
async def delete(task: Task) -> None:
    """Delete the client that this step made."""
    await tables.remove(task.tx, task.key)


client_service = worker.target(retention=lambda ctx: tables.RETENTION)
