"""A virtual clock: what is due happens in order, and the same story happens again."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from knative.local.timeline import BETWEEN_LOOKS_S, LOOKS, Timeline, wait_until_idle
from tests.support.command_line import TINY, lines, one_line, run
from tests.support.local_knative import ROOT, LocalKnative, local_knative
from tests.support.manifest_files import write

START = datetime(2026, 11, 25, 8, tzinfo=UTC)


async def _at_once() -> None:
    """Nothing is under way."""


async def test_what_is_due_happens_in_order_at_its_own_time() -> None:
    timeline = Timeline(START)
    sent: list[tuple[str, float]] = []

    def tell(name: str) -> None:
        sent.append((name, timeline.now() - START.timestamp()))

    base = timeline.now()
    timeline.call_at(START.timestamp() + 20, lambda: tell("b"), "b")
    timeline.call_at(START.timestamp() + 20, lambda: tell("a"), "a")
    timeline.call_at(START.timestamp() + 99, lambda: tell("never"))
    timeline.call_at(START.timestamp() + 30, lambda: tell("cancelled")).cancel()

    def first() -> None:
        tell("first")
        timeline.call_later(0.5, lambda: tell("retry"))

    timeline.call_at(START.timestamp() + 10, first)
    assert await timeline.advance(60, _at_once) == 4
    assert sent == [("first", 10), ("retry", 10.5), ("a", 20), ("b", 20)]
    assert 60 <= timeline.now() - base < 65
    timeline.close()


async def test_time_goes_on_from_where_an_advance_was_stopped() -> None:
    timeline = Timeline(START)
    timeline.call_at(START.timestamp() + 10, lambda: None)

    async def stuck() -> None:
        if timeline.now() > START.timestamp() + 9:
            raise TimeoutError("stuck")

    with pytest.raises(TimeoutError):
        await timeline.advance(60, stuck)
    assert 10 <= timeline.now() - START.timestamp() < 15
    timeline.close()


async def test_a_loop_that_stalls_does_not_make_what_is_busy_idle() -> None:
    begun, stalled, busy = time.monotonic(), 0, ["echo"]

    def look() -> list[str]:
        nonlocal stalled
        if stalled < 3:
            stalled += 1
            asyncio.get_running_loop().call_soon(time.sleep, LOOKS * BETWEEN_LOOKS_S)
        else:
            busy.clear()
        return busy

    await wait_until_idle(look)
    assert not busy
    assert time.monotonic() - begun >= 3 * LOOKS * BETWEEN_LOOKS_S


async def test_what_does_not_end_is_named() -> None:
    with pytest.raises(TimeoutError, match=r"a Job, echo did not end in 0\.05 s"):
        await wait_until_idle(lambda: ["echo", "a Job"], timeout_s=0.05)


async def test_of_many_jobs_each_may_take_its_time() -> None:
    began = time.monotonic()
    jobs = [f"job {number}" for number in range(9)]
    await wait_until_idle(lambda: jobs[int((time.monotonic() - began) / 0.2) :], timeout_s=1.0)
    assert time.monotonic() - began >= 1.8


async def test_what_ends_and_begins_for_ever_is_noticed() -> None:
    turns = itertools.cycle(["echo", "mirror"])
    with pytest.raises(TimeoutError, match="did not end"):
        await wait_until_idle(lambda: [next(turns)], timeout_s=0.1)


async def test_a_file_tells_processes_the_time(tmp_path: Path) -> None:
    file = tmp_path / "clock"
    timeline = Timeline(START, file)
    sent: list[str] = []
    timeline.call_at(START.timestamp() + 10, lambda: sent.append(file.read_text()))
    await timeline.advance(20, _at_once)
    assert sent == [f"at {START.timestamp() + 10}"]
    kind, offset = file.read_text().split()
    assert kind == "offset"
    assert float(offset) + time.time() == pytest.approx(timeline.now(), abs=1)
    timeline.close()


NIGHT = ("--clock", "2026-11-25T08:00-06:00", "--fault", "status=503 probability=0.5 seed=7")


def story(tmp_path: Path, name: str, by: str) -> list[Any]:
    """What happens in a while of virtual time."""
    with local_knative(TINY, tmp_path / name, *NIGHT) as knative:
        data = ("--data", str(knative.data))
        advanced = run("clock", "advance", by, *data)
        assert (advanced.returncode, advanced.stderr) == (0, "")
        return [
            (
                one["attributes"]["type"],
                one["attributes"]["id"],
                one["attributes"].get("time"),
                [(d["trigger"], d["state"], len(d["attempts"])) for d in one["deliveries"]],
            )
            for one in lines("events", *data)
        ]


def test_three_days_pass_in_seconds_and_a_second_time_with_the_same_story(tmp_path: Path) -> None:
    first = story(tmp_path, "first", "3d")
    ticks = [one[2] for one in first if one[0] == "dev.knative.sources.ping"]
    assert ticks == [f"2026-11-{day}T14:30:00Z" for day in (25, 26, 27)]
    assert any(made > 1 for *_, deliveries in first for _, _, made in deliveries), "no retry"
    assert story(tmp_path, "second", "3d") == first


async def test_a_process_of_another_time_reads_the_file_that_its_environment_names(
    tmp_path: Path,
) -> None:
    with local_knative(TINY, tmp_path, "--clock", "2026-11-25T08:00-06:00") as knative:
        async with knative.client("echo") as client:
            env = (await client.get("/")).json()["env"]
        kind, offset = Path(env["CLOCK_FILE"]).read_text().split()
        shown = run("clock", "--json", "--data", str(knative.data)).stdout
    assert kind == "offset"
    assert float(offset) + time.time() == pytest.approx(START.timestamp() + 6 * 3600, abs=60)
    assert '"virtual": true' in shown


JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: passing, namespace: dsm}
spec:
  ttlSecondsAfterFinished: 3600
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: c, command: ["true"]}]
"""


async def test_a_job_is_removed_when_its_time_to_live_has_passed(tmp_path: Path) -> None:
    overlay = write(tmp_path / "overlay", objects=JOB)
    with local_knative(overlay, tmp_path / "data", "--clock", "2026-11-25T08:00Z") as knative:
        assert await _jobs(knative) == ["passing"]
        for by, left in (("59m", ["passing"]), ("2m", [])):
            run("clock", "advance", by, "--data", str(knative.data))
            assert await _jobs(knative) == left


async def _jobs(knative: LocalKnative) -> list[str]:
    async with knative.client() as client:
        answer = await client.get("/kubernetes/apis/batch/v1/namespaces/dsm/jobs")
    return [item["metadata"]["name"] for item in answer.json()["items"]]


def test_a_clock_that_cannot_be_advanced_says_why(tmp_path: Path) -> None:
    wrong = run("up", str(TINY), "--clock", "noon", "--data", str(tmp_path))
    assert (wrong.returncode, "2026-11-25T08:00-06:00" in wrong.stderr) == (2, True)
    with local_knative(TINY, tmp_path) as knative:
        data = ("--data", str(knative.data))
        assert "up --clock TIME" in one_line(run("clock", "advance", "3d", *data), 2)
        assert "no duration like 90s" in one_line(run("clock", "advance", "soon", *data), 2)
        assert "the machine's clock" in run("clock", *data).stdout


def test_a_function_of_the_kit_has_the_time_of_the_file(tmp_path: Path) -> None:
    program = "from functions.kit.context import process_context; print(process_context('f').now())"
    for text, moment in (("at 60", "1970-01-01 00:01:00+00:00"), ("offset 86400", _tomorrow())):
        (tmp_path / "clock").write_text(text)
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "CLOCK_FILE": str(tmp_path / "clock")},
            capture_output=True,
            text=True,
            check=True,
        )
        sent = datetime.fromisoformat(done.stdout.strip())
        assert abs(sent - datetime.fromisoformat(moment)) < timedelta(minutes=5)


def _tomorrow() -> str:
    return (datetime.now(UTC) + timedelta(days=1)).isoformat()
