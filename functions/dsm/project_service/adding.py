"""Adding what has an id of its own, once for each Idempotency-Key."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from functions.dsm.project_service.tables import Kind
from functions.kit.contract import Ctx, created, once
from functions.kit.durable import Connection

NOTHING: Mapping[str, str] = MappingProxyType({})


async def add(
    ctx: Ctx, key: str | None, kind: Kind, body: BaseModel, answer: Mapping[str, str] = NOTHING
) -> Response:
    """201 with `answer` besides, or `Conflict` where there is one of this id."""
    row = body.model_dump(mode="json")

    async def work(tx: Connection) -> Any:
        await kind.add(tx, row)
        message = f"{kind.noun} created successfully"
        return {"message": message, f"{kind.noun.lower()}_id": row["id"], **answer}

    return created(await once(ctx, key, f"POST /{kind.table}", row, work))
