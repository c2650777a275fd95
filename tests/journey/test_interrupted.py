"""Ctrl-C while PostgreSQL is away: everything ends in order, and says nothing of how."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support import eventually
from tests.support.local_knative import LocalKnative, local_knative
from tests.support.warm_data import OVERLAY, WarmData

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

AWAY, STOPPING = "PostgreSQL has ended and is started again", "Stopping; Ctrl-C again kills"


async def postgres(runtime: LocalKnative) -> tuple[str, int]:
    """Its state, and its process or 0."""
    (found,) = (one for one in await runtime.ask("services") if one["name"] == "postgres")
    return found["state"], int(found["pid"] or 0)


async def test_an_interrupt_while_postgresql_is_away_prints_no_traceback(
    tmp_path: Path, warm_data: WarmData
) -> None:
    data = warm_data.copy_to(tmp_path / "d")
    with local_knative(OVERLAY, data) as runtime:
        _, pid = await postgres(runtime)
        with (data / "postgres" / "postgresql.conf").open("a") as config:
            config.write("no_such_setting = 1\n")  # so that it stays away
        os.kill(pid, signal.SIGKILL)

        async def is_away() -> bool:
            return (await postgres(runtime))[0] == "failed"

        assert await eventually(is_away)
        assert runtime.process is not None
        runtime.process.send_signal(signal.SIGINT)
        code = runtime.process.wait(60)
    output = (tmp_path / "d.log").read_text()
    assert code in (0, 130), output
    assert AWAY in output, output
    assert STOPPING in output, output
    assert "Traceback" not in output, output
    assert "ERROR" not in output.partition(STOPPING)[2], output
