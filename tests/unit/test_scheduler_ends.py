"""How a tick that was sent ends, by the runs that functions have recorded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from functions.scheduler.decide.ends import Run, moved
from functions.scheduler.decide.tick import UNFINISHED, Origin, State, Tick

AT = datetime(2026, 3, 6, 14, tzinfo=UTC)
GOOD, LATE = Run("f", 1, ok=True), Run("f", 2, ok=False, detail="TooLate: no", late=True)


@pytest.mark.parametrize("state", sorted(UNFINISHED))
@pytest.mark.parametrize(
    ("runs", "end"),
    [
        ([GOOD], State.DONE),
        ([LATE], State.MISSED),
        ([GOOD, LATE], State.DONE),
        ([Run("g", 1, ok=True), LATE], State.MISSED),
    ],
)
def test_a_repeat_that_is_too_late_takes_nothing_from_a_good_run(
    state: State, runs: list[Run], end: State
) -> None:
    found = moved(Tick(AT, AT, state, Origin.CLOCK), AT, runs, AT + timedelta(days=1))
    assert found is not None
    assert found.tick.state is end
    assert found.run == (GOOD if runs[0] is GOOD else LATE)
