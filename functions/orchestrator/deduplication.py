"""The inbox: which events were accepted already, and their answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from functions.kit.durable import Connection

FUNCTION = "orchestrator"


@dataclass(frozen=True, slots=True)
class Claim:
    """The identity of an event, and the answer to a repeat."""

    source: str
    id: str
    type: str
    answer: Any = None


async def claim(tx: Connection, claims: Sequence[Claim]) -> set[tuple[str, str]]:
    """Claim events in the inbox; return the (source, id) of those that are new."""
    rows = await tx.fetch(
        """INSERT INTO inbox (function, source, id, type, answer)
           SELECT $1, source, id, type, answer::jsonb
           FROM unnest($2::text[], $3::text[], $4::text[], $5::text[])
                AS given (source, id, type, answer)
           ORDER BY source, id ON CONFLICT DO NOTHING RETURNING source, id""",
        FUNCTION,
        [c.source for c in claims],
        [c.id for c in claims],
        [c.type for c in claims],
        [json.dumps(c.answer) for c in claims],
    )
    return {(row["source"], row["id"]) for row in rows}


async def recorded(tx: Connection, claims: Sequence[Claim]) -> dict[tuple[str, str], Any]:
    """Return the answers to events that were claimed earlier."""
    rows = await tx.fetch(
        """SELECT source, id, answer FROM inbox JOIN unnest($2::text[], $3::text[])
           AS given (source, id) USING (source, id) WHERE function = $1""",
        FUNCTION,
        [c.source for c in claims],
        [c.id for c in claims],
    )
    return {(row["source"], row["id"]): row["answer"] for row in rows}


async def first_repeat(tx: Connection, claims: Sequence[Claim]) -> set[tuple[str, str]]:
    """Return the claimed events without an answer that are repeated for the first time."""
    rows = await tx.fetch(
        """WITH again AS (
               SELECT source, id FROM inbox JOIN unnest($2::text[], $3::text[])
                   AS given (source, id) USING (source, id)
               WHERE function = $1 AND answer::text IS DISTINCT FROM '"repeated"'
               ORDER BY source, id FOR UPDATE OF inbox)
           UPDATE inbox SET answer = '"repeated"' FROM again
           WHERE function = $1 AND inbox.source = again.source AND inbox.id = again.id
           RETURNING inbox.source, inbox.id""",
        FUNCTION,
        [c.source for c in claims],
        [c.id for c in claims],
    )
    return {(row["source"], row["id"]) for row in rows}


async def answer(tx: Connection, claim: Claim, answer: Any) -> None:
    """Store the answer to an event that was claimed in this transaction."""
    await tx.execute(
        "UPDATE inbox SET answer = $4 WHERE function = $1 AND source = $2 AND id = $3",
        FUNCTION,
        claim.source,
        claim.id,
        answer,
    )


async def forget(tx: Connection, claims: Sequence[Claim]) -> None:
    """Release the claims of rejected events, which may be corrected and repeated."""
    await tx.execute(
        """DELETE FROM inbox USING unnest($2::text[], $3::text[]) AS given (source, id)
           WHERE function = $1 AND inbox.source = given.source AND inbox.id = given.id""",
        FUNCTION,
        [c.source for c in claims],
        [c.id for c in claims],
    )
