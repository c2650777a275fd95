"""Beside a virtual clock, rows that tell of a time have that clock's, not the database's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from functions.cycle_trigger import tables
from functions.cycle_trigger.decide import Cycle
from functions.kit.context import Resources
from functions.kit.durable import history
from functions.kit.durable.claim_work_settle import Outcome
from functions.kit.durable.history import Wanted
from functions.kit.durable.inbox import Key

THEN = datetime(2031, 3, 1, 8, 30, tzinfo=UTC)
KEY = Key("f", "/s", "1")


@pytest.fixture
def resources(functions_database: str, tmp_path: Path) -> Resources:
    (tmp_path / "clock").write_text(f"at {THEN.timestamp()}")
    return Resources({"DATABASE_URL": functions_database, "CLOCK_FILE": str(tmp_path / "clock")})


async def test_a_run_ends_at_the_virtual_time(resources: Resources) -> None:
    async def work() -> Outcome:
        return Outcome({"a": 1})

    await resources.durable.once(KEY, "t", 1, work)
    await resources.durable.fail(KEY, "t", 1.0, ValueError("no"))
    runs = await history.runs(resources.store, "f", Wanted())
    assert [(run["outcome"], run["ended_at"]) for run in runs] == [("failed", THEN), ("ok", THEN)]
    assert {row["runs"] for row in await history.tally(resources.store)} == {1}
    await resources.close()


async def test_a_cycle_is_left_open_for_a_virtual_time(
    resources: Resources, tmp_path: Path
) -> None:
    await tables.begin(resources.store, Cycle("P", "P-S01"))
    assert await tables.left_open(resources.store, 900, 10) == []
    (tmp_path / "clock").write_text(f"at {(THEN + timedelta(minutes=15)).timestamp()}")
    assert await tables.left_open(resources.store, 900, 10) == [Cycle("P", "P-S01")]
    await resources.close()
