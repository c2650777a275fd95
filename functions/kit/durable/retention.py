"""Retention: old answers, steps and runs are deleted in batches while the process serves.

A process that is always awake never starts anew, so this is no business of its start alone. Each
batch is a short statement of its own: it holds no lock for long, and where it ends early the next
round goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from functions.kit.errors import FunctionError

if TYPE_CHECKING:
    from functions.kit.durable.database import Store

logger = logging.getLogger(__name__)

DAYS = 30  # no broker and no service repeats itself for so long
BATCH = 1000
EVERY_S = 600.0
# Between two batches: requests come first.
PAUSE_S = 0.05

# What a worker of sagas has done stays until it was undone so long ago: an undo may be asked for at
# any time.
_UNDONE = """NOT (step = 'DO' AND NOT EXISTS (
    SELECT FROM journal AS undone WHERE undone.function = journal.function
    AND undone.key = journal.key AND undone.step = 'UNDO'))"""


@dataclass(frozen=True)
class Rule:
    """What is deleted once it is older than so many `days`.

    `statement` deletes up to $2 rows that are older than $1 days, and returns how many.
    """

    days: int
    statement: str


def rule(table: str, age: str, days: int = DAYS, where: str = "true") -> Rule:
    """Rows of a table, by a column with their time: indexed, unless the table stays small."""
    return Rule(
        days,
        f"""WITH gone AS (
                DELETE FROM {table} WHERE ctid = ANY (ARRAY(
                    SELECT ctid FROM {table}
                    WHERE {age} < now() - make_interval(days => $1) AND {where}
                    ORDER BY {age} LIMIT $2))
                RETURNING true)
            SELECT count(*) FROM gone""",
    )


def rule_of_log(table: str, age: str, days: int = DAYS) -> Rule:
    """Rows of a table to which rows are only added: the lowest ids are the oldest."""
    return Rule(
        days,
        f"""WITH gone AS (
                DELETE FROM {table} USING (SELECT id FROM {table} ORDER BY id LIMIT $2) AS oldest
                WHERE {table}.id = oldest.id AND {age} < now() - make_interval(days => $1)
                RETURNING true)
            SELECT count(*) FROM gone""",
    )


def _of_kit(function: str, days: int, action_days: int) -> tuple[Rule, ...]:
    mine = f"function = '{function}'"
    return (
        rule("inbox", "received_at", days, mine),
        rule("journal", "done_at", days, f"{mine} AND {_UNDONE}"),
        rule("run", "ended_at", days, mine),
        rule("outbox_event", "dead_lettered_at", days),
        rule("cancelled_event", "at", days),
        rule("user_action", "at", action_days, mine),
    )


async def keep_small(
    store: Store, function: str, rules: Sequence[Rule] = (), every_s: float = EVERY_S
) -> None:
    """Delete what is old, now and every `every_s` seconds, for as long as the process lives."""
    while True:
        try:
            await forget(store, function, rules=rules)
        except FunctionError as error:
            logger.warning("could not delete old records: %s", error)
        await asyncio.sleep(every_s)


async def forget(store: Store, function: str, days: int = DAYS, rules: Sequence[Rule] = ()) -> None:
    """Delete what is older than `days`: a function's answers, steps, runs and refused events, and
    what `rules` say.
    """
    for one in (*_of_kit(function, days, store.action_retention_days), *rules):
        gone = BATCH
        while gone == BATCH:
            async with store.connection() as connection:
                gone = await connection.fetchval(one.statement, one.days, BATCH)
            await asyncio.sleep(PAUSE_S if gone else 0)
