"""Places in the queue, as users see them: of a request among those of its group that wait."""

from __future__ import annotations

from functions.events.job import JobMoved
from functions.job_launcher import facts
from functions.job_launcher.decide import JobRequest
from functions.job_launcher.tables import changes_row, row_of
from functions.kit.context import Context
from functions.kit.durable import Connection

MAX_REPORTS = 100  # in one sweep

_QUEUE = "state = 'queued' AND approval IS NULL AND cancel IS NULL"


async def first(tx: Connection, request: JobRequest) -> int:
    """Return the place of a request that was just added; 0 where it waits for an approval."""
    if request.needs_approval("start"):
        return 0
    place: int = await tx.fetchval(
        f"""UPDATE job SET place = (
                SELECT count(*) FROM job WHERE group_name = $2 AND {_QUEUE})
            WHERE id = $1 RETURNING place""",
        *(request.job_id, request.group),
    )
    return place


async def report(ctx: Context) -> None:
    """Emit the places of requests about an issue that have changed since they were reported."""
    async with ctx.store.connection() as connection:
        moved = await connection.fetch(
            f"""SELECT job.*, now_at FROM job JOIN (
                    SELECT id, row_number() OVER (PARTITION BY group_name ORDER BY position)::int
                        AS now_at FROM job WHERE {_QUEUE}) AS waiting USING (id)
                WHERE place IS DISTINCT FROM now_at AND request->>'issue' IS NOT NULL
                ORDER BY position LIMIT $1""",
            MAX_REPORTS,
        )
    for one in moved:
        request, place, at = row_of(one).request, one["now_at"], ctx.now()
        stage = f"place {place} at {at.isoformat()}"
        async with facts.settled(ctx, request, stage) as settlement:
            if await changes_row(
                settlement.tx,
                f"""UPDATE job SET place = $2 WHERE id = $1 AND {_QUEUE}
                    AND place IS DISTINCT FROM $2 RETURNING true""",
                *(request.job_id, place),
            ):
                fields = facts.common_fields(request)
                settlement.facts.append(JobMoved(**fields, place=place, moved_at=at))
