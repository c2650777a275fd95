"""Places in the queue, as users see them: of a request among those of its group that wait."""

from __future__ import annotations

from functions.events.job import JobMoved
from functions.job_launcher import facts, queue
from functions.job_launcher.controller.launching import MIN_REMAINING_S
from functions.job_launcher.tables import changes_row, row_of
from functions.job_launcher.view import read_queue
from functions.kit.context import Context

MAX_REPORTS = 100  # in one sweep


async def report(ctx: Context) -> None:
    """Emit the places of requests about an issue that have changed since they were reported, but
    for those that are due: those first whose last report is the oldest. The next sweep goes on
    where the time ends."""
    async with ctx.store.connection() as connection:
        waiting = list((await read_queue(ctx, connection)).reasons)
        moved = await connection.fetch(
            f"""SELECT job.*, now_at FROM job JOIN (
                    SELECT id, row_number() OVER (PARTITION BY group_name ORDER BY position)::int
                        AS now_at FROM job WHERE {queue.WAITS}) AS queue USING (id)
                WHERE place IS DISTINCT FROM now_at AND request->>'issue' IS NOT NULL
                AND id = ANY($2) ORDER BY placed_at, position LIMIT $1""",
            *(MAX_REPORTS, waiting),
        )
    for one in moved:
        if ctx.remaining_s < MIN_REMAINING_S:
            return
        request, place, at = row_of(one).request, one["now_at"], ctx.now()
        stage = f"place {place} at {at.isoformat()}"
        async with facts.settled(ctx, request, stage) as settlement:
            if await changes_row(
                settlement.tx,
                f"""UPDATE job SET place = $2, placed_at = $3 WHERE id = $1 AND {queue.WAITS}
                    AND place IS DISTINCT FROM $2 RETURNING true""",
                *(request.job_id, place, at),
            ):
                fields = facts.common_fields(request)
                settlement.facts.append(JobMoved(**fields, place=place, moved_at=at))
