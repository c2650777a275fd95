"""The record of runs as it is read: a list, one page at a time, and a count that cuts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from functions.events.schedule import ScheduleDue

if TYPE_CHECKING:
    from functions.kit.durable.database import Store


@dataclass(frozen=True)
class Wanted:
    """Which runs: ended at or after `since` and before `before`, of a type, of some ids.

    `after` is the `number` of the last run of the page before. `latest`: only the newest run of
    each name, which is an id up to its `@`, as a schedule's ticks and a sprint's days have it.
    `answers` adds the events that a run emitted.
    """

    limit: int = 20
    since: datetime | None = None
    before: datetime | None = None
    type: str | None = None
    outcome: str | None = None
    ids: Sequence[str] | None = None
    after: int | None = None
    latest: bool = False
    answers: bool = False


_FITS = """run.function = $1 AND ($2::timestamptz IS NULL OR ended_at >= $2)
    AND ($3::timestamptz IS NULL OR ended_at < $3) AND ($4::text IS NULL OR run.type = $4)"""


async def runs(store: Store, function: str, wanted: Wanted) -> list[dict[str, Any]]:
    """Runs of a function, newest first, good and bad."""
    answer, joined = "", ""
    if wanted.answers:
        answer = ", CASE outcome WHEN 'ok' THEN inbox.answer END AS answer"
        joined = "LEFT JOIN inbox USING (function, source, id)"
    # The newest run of all there are is the newest of each schedule: no need to read the others.
    newest = Wanted(wanted.limit, type=ScheduleDue.type, latest=True, answers=wanted.answers)
    source = f"({_TICKS}) AS run" if wanted == newest else "run"
    chosen = f"""SELECT run.* FROM {source} WHERE {_FITS}
        AND ($5::text IS NULL OR outcome = $5) AND ($6::text[] IS NULL OR id = ANY ($6))
        AND ($7::bigint IS NULL OR (ended_at, number) <
            (SELECT ended_at, number FROM run WHERE number = $7))"""
    if wanted.latest:
        chosen = f"""SELECT DISTINCT ON (split_part(id, '@', 1)) * FROM ({chosen}) AS run
            ORDER BY split_part(id, '@', 1), ended_at DESC, number DESC"""
    async with store.connection() as connection:
        rows = await connection.fetch(
            f"""SELECT number, source, id, run.type, ended_at, took_ms, outcome, detail,
                    requested_by {answer}
                FROM ({chosen}) AS run {joined}
                ORDER BY ended_at DESC, number DESC LIMIT $8""",
            *(function, wanted.since, wanted.before, wanted.type, wanted.outcome),
            *(None if wanted.ids is None else list(wanted.ids), wanted.after, wanted.limit),
        )
    return [dict(row) for row in rows]


async def summary(store: Store, function: str, wanted: Wanted) -> list[dict[str, Any]]:
    """Of each type of event: how many runs, how long, and what failed and was not done since.

    `failed` counts events, not runs: one that was tried three times in vain is one. `detail` is
    of the latest of them. `failed_runs` counts every run that failed, whatever followed.
    """
    async with store.connection() as connection:
        rows = await connection.fetch(
            f"""WITH found AS (
                    SELECT run.*, outcome = 'failed' AND NOT EXISTS (
                        SELECT FROM inbox WHERE inbox.function = run.function
                        AND inbox.source = run.source AND inbox.id = run.id) AS open
                    FROM run WHERE {_FITS})
                SELECT type, count(*) AS runs, sum(took_ms) AS took_ms,
                    count(*) FILTER (WHERE outcome = 'failed') AS failed_runs,
                    max(took_ms) AS slowest_ms, max(ended_at) AS last,
                    count(DISTINCT (source, id)) FILTER (WHERE open) AS failed,
                    (array_agg(detail ORDER BY ended_at DESC) FILTER (WHERE open))[1] AS detail
                FROM found GROUP BY type ORDER BY type""",
            *(function, wanted.since, wanted.before, None),
        )
    return [dict(row) for row in rows]


# Source and id of the events that were handled by functions of which {0} is a part of the name.
HANDLED = """SELECT event_source, event_id FROM run
    WHERE strpos(replace(function, '_', '-'), {0}) > 0"""


async def runs_of(store: Store, events: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """What became of events, each named by source and id: the runs of all functions, in order."""
    async with store.connection() as connection:
        rows = await connection.fetch(
            """SELECT event_source, event_id, function, number, ended_at, took_ms, outcome, detail,
                   failure_kind
               FROM run JOIN json_to_recordset($1) AS event (source text, id text)
                   ON event_id = event.id AND event_source = event.source
               ORDER BY number""",
            [{"source": source, "id": id} for source, id in events],
        )
    return [dict(row) for row in rows]


# A process of an older version records no kind. The indexes `run_ok` and `run_failed` serve these.
_KIND = "coalesce(failure_kind, 'unexpected')"


def _kinds(outcome: str, *columns: str) -> str:
    """Of each kind of run, as `columns` distinguish them: the latest, and how many in a day.

    A loose index scan: one step of the index for each kind, however many runs it has.
    """
    names = [f"c{place}" for place in range(len(columns))]
    kind, found = ", ".join(columns), ", ".join(f"kind.{name}" for name in names)
    return f"""WITH RECURSIVE kind ({", ".join(names)}) AS (
            (SELECT {kind} FROM run WHERE outcome = '{outcome}' ORDER BY {kind} LIMIT 1)
            UNION ALL
            SELECT next.* FROM kind CROSS JOIN LATERAL (
                SELECT {kind} FROM run WHERE outcome = '{outcome}' AND ({kind}) > ({found})
                ORDER BY {kind} LIMIT 1) AS next)
        SELECT kind.*, latest.ended_at, day.runs FROM kind
        CROSS JOIN LATERAL (
            SELECT max(ended_at) AS ended_at FROM run
            WHERE outcome = '{outcome}' AND ({kind}) = ({found})) AS latest
        CROSS JOIN LATERAL (
            SELECT count(*) AS runs FROM run
            WHERE outcome = '{outcome}' AND ({kind}) = ({found})
            AND ended_at > coalesce($1::timestamptz, now()) - interval '1 day') AS day"""


_TALLY = f"""SELECT c0 AS function, c1 AS type, 'ok' AS outcome, NULL AS failure_kind,
        ended_at, runs
    FROM ({_kinds("ok", "function", "type")}) AS good
    UNION ALL
    SELECT c0, c1, 'failed', c2, ended_at, runs
    FROM ({_kinds("failed", "function", "type", _KIND)}) AS bad"""


async def tally(store: Store) -> list[dict[str, Any]]:
    """Of each function, type, outcome and kind of failure: the latest run's end, runs in a day."""
    async with store.connection() as connection:
        return [dict(row) for row in await connection.fetch(_TALLY, store.now)]


# What `ScheduleDue.identity` returns: the schedule, the minute, and what the tick is about.
_TICK = r"^(.+?)@(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d)(/.*)?$"

# The newest tick of each function and schedule, by a loose scan of `run_tick`.
_TICKS = f"""WITH RECURSIVE schedule (function, name) AS (
        (SELECT function, split_part(id, '@', 1) FROM run WHERE type = '{ScheduleDue.type}'
         ORDER BY 1, 2 LIMIT 1)
        UNION ALL
        SELECT next.* FROM schedule CROSS JOIN LATERAL (
            SELECT function, split_part(id, '@', 1) FROM run WHERE type = '{ScheduleDue.type}'
            AND (function, split_part(id, '@', 1)) > (schedule.function, schedule.name)
            ORDER BY 1, 2 LIMIT 1) AS next)
    SELECT tick.* FROM schedule CROSS JOIN LATERAL (
        SELECT * FROM run WHERE type = '{ScheduleDue.type}' AND run.function = schedule.function
        AND split_part(id, '@', 1) = schedule.name
        ORDER BY ended_at DESC, number DESC LIMIT 1) AS tick"""


async def latest_ticks(store: Store) -> list[dict[str, Any]]:
    """Each schedule's latest tick of every function on record, as runs."""
    async with store.connection() as connection:
        rows = await connection.fetch(
            f"""SELECT function, number, source, id, type, ended_at, took_ms, outcome, detail,
                    requested_by FROM ({_TICKS}) AS run ORDER BY function, id"""
        )
    return [dict(row) for row in rows]


async def ticks(store: Store) -> list[dict[str, Any]]:
    """Each schedule's latest tick on record.

    `began_at`: when the work on it began; `late_s`: how long after the minute that was due.
    """
    async with store.connection() as connection:
        rows = await connection.fetch(
            f"""SELECT DISTINCT ON (schedule) schedule, began_at,
                      extract(epoch FROM began_at - due::timestamptz)::float8 AS late_s
               FROM (SELECT named[1] AS schedule, named[2] AS due, ended_at,
                            ended_at - make_interval(secs => took_ms / 1000) AS began_at
                     FROM ({_TICKS}) AS run, regexp_match(id, $1) AS named
                     WHERE named IS NOT NULL) AS tick
               ORDER BY schedule, ended_at DESC""",
            _TICK,
        )
    return [dict(row) for row in rows]
