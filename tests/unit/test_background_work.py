"""Work beside the requests: what it leases stays its own while it lives, and no longer."""

from __future__ import annotations

import asyncio

import pytest

from functions.kit.context import Context, Resources
from functions.kit.errors import TemporaryError
from functions.kit.process.background_work import LEASE_S, BackgroundWork, leased
from tests.support import eventually


class Lease:
    """A row's lease, and what was done to it."""

    def __init__(self) -> None:
        self.prolonged = self.released = 0

    async def prolong(self) -> None:
        self.prolonged += 1
        if self.prolonged == 2:
            raise TemporaryError("the database is away for a moment")

    async def release(self) -> None:
        self.released += 1


async def test_a_lease_is_kept_while_the_work_goes_on_though_the_database_was_away() -> None:
    lease = Lease()

    async def often() -> bool:
        return lease.prolonged > 3

    async with leased(lease.prolong, lease.release, every_s=0.001):
        assert await eventually(often)
    assert lease.released == 0
    at_the_end = lease.prolonged
    await asyncio.sleep(0)
    assert lease.prolonged == at_the_end


async def test_work_that_is_cancelled_gives_its_lease_back() -> None:
    lease, begun = Lease(), asyncio.Event()

    async def work() -> None:
        async with leased(lease.prolong, lease.release):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lease.released == 1


def test_what_a_dead_process_has_leased_is_taken_over_within_seventy_seconds() -> None:
    """A tick comes each minute; a process that it wakes waits for the end of leases by itself."""
    assert LEASE_S <= 60


async def test_work_that_is_due_later_is_done_then_without_a_trigger() -> None:
    done: list[str] = []

    class Later(BackgroundWork):
        async def work(self, ctx: Context) -> float | None:
            done.append(ctx.function)
            return 0.0 if len(done) == 1 else None

    async def twice() -> bool:
        return len(done) == 2

    resources = Resources({})
    later = Later(resources)
    later.trigger(Context(resources, "later"))
    assert await eventually(twice)
    await later.close()
    await resources.close()
