"""Keep a ledger of every schedule: each nominal time has a row with what became of it.

in      ScheduleDue: the ticks of all schedules, and the scheduler's own of each minute
out     TickDue for each nominal time that is to run, late where it was missed; ScheduleRecovered
        when a schedule that its failures had paused works again
asks    Kubernetes, for the PingSources: each is a schedule, its annotations are the policies
fails   TemporaryError while the database is away: nothing is written, and the next wake-up makes
        good what this one left. While Kubernetes is away, schedules are followed as they were
"""

from __future__ import annotations

from functions.events.schedule import ScheduleDue, ScheduleRecovered, TickDue
from functions.kit.context import Context
from functions.kit.contract import function
from functions.scheduler import backfill
from functions.scheduler.api import ROUTES
from functions.scheduler.fire import fire
from functions.scheduler.gauges import gauges
from functions.scheduler.loop import Loop

OWN = "scheduler"


async def start(ctx: Context) -> None:
    """What came due while no process ran is made good at once."""
    ctx.part(Loop).begin(ctx, pause_s=0)


@function(
    emits=[TickDue, ScheduleRecovered],
    schedules=["*"],  # its Trigger chooses
    recorded=True,
    routes=ROUTES,
    start=start,
    gauges=gauges,
    retention=backfill.retention,
    ad_hoc=False,
)
async def scheduler(event: ScheduleDue, ctx: Context) -> None:
    loop = ctx.part(Loop)
    woken = await loop.wake(ctx)
    if event.schedule != OWN:
        await fire(event, woken.sources, ctx)
    if woken.unfinished or event.schedule != OWN:
        loop.begin(ctx)
