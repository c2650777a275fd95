"""`make run ONCE=1` as a newcomer has it, again on the same data, and with a part missing."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from tests.support import documented_shell, eventually
from tests.support.local_knative import ROOT, LocalKnative, local_knative
from tests.support.warm_data import OVERLAY, WarmData

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SPRINT = "TEST-001-S01"
QUICK_S = 120.0  # a machine that does much else takes its time


@dataclass(frozen=True)
class Morning:
    """How a run ended."""

    code: int
    output: str
    took_s: float


def morning(data: Path, overlay: Path = OVERLAY) -> Morning:
    command = [sys.executable, "-m", "knative.demo", "--once", "--port", "0"]
    command += ["--data", str(data), "--overlay", str(overlay)]
    began = time.monotonic()
    # Wide, so that no line of a table is broken.
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    return Morning(done.returncode, done.stdout + done.stderr, time.monotonic() - began)


@dataclass(frozen=True)
class Mornings:
    """Two runs one after the other, and the data that they left."""

    first: Morning
    second: Morning
    data: Path


@pytest.fixture(scope="module")
async def mornings(tmp_path_factory: pytest.TempPathFactory) -> Mornings:
    # A unix socket's path may have 107 characters at most: PostgreSQL's is below the data.
    data = tmp_path_factory.mktemp("m")
    first = await asyncio.to_thread(morning, data)
    minute = datetime.now().minute

    async def another_minute() -> bool:
        return datetime.now().minute != minute

    # A schedule is due once a minute: within one, the first morning's answers would come again.
    await eventually(another_minute)
    return Mornings(first, await asyncio.to_thread(morning, data), data)


@pytest.fixture(scope="module")
def after(mornings: Mornings) -> Iterator[LocalKnative]:
    """A local Knative that goes on with the mornings' data, as `make run` serves it."""
    with local_knative(OVERLAY, mornings.data, "--front", "dsm/orchestrator") as runtime:
        yield runtime


def test_the_first_morning_shows_report_cycle_and_filed_notes(mornings: Mornings) -> None:
    code, output = mornings.first.code, mornings.first.output
    assert code == 0, output
    assert "Sprint report" in output
    assert "Cycle of PHE001" in output
    for sprint in ("ORI002-S01", "PHE001-S02"):
        assert f"Daily scrum of {sprint}" in output, output
    assert output.count("(note ") == 2
    assert "draft pull request #" in output
    assert "GitHub made 2 in the last day, 2 are here" in output
    assert "given up" not in output.replace("what was given up", "")


def test_a_job_has_started_before_it_has_ended_in_what_is_printed(mornings: Mornings) -> None:
    for run in (mornings.first, mornings.second):
        printed: dict[str, list[str]] = {}
        for name, state in re.findall(r"  (\S+) has (started|ended)\n", run.output):
            printed.setdefault(name, []).append(state)
        assert printed, run.output
        assert list(printed.values()) == [["started", "ended"]] * len(printed), run.output


def test_a_second_morning_has_no_cycle_to_run_and_succeeds(mornings: Mornings) -> None:
    code, output = mornings.second.code, mornings.second.output
    assert code == 0, output
    assert "nothing was changed" in output
    assert "No sprint is complete: no cycle was due." in output
    assert "Cycle of" not in output
    assert mornings.second.took_s < QUICK_S


@pytest.mark.parametrize(
    ("triggers", "failures"),
    [
        (
            ("sprint-report-due", "scrum-report-simulated"),
            ("no sprint report came", "no daily report was filed for ORI002-S01"),
        ),
        (("cycle-trigger-completed",), ("no cycle was completed for PHE001-S01",)),
    ],
)
def test_a_morning_in_which_an_event_has_no_consumer_fails(
    tmp_path: Path, warm_data: WarmData, triggers: tuple[str, ...], failures: tuple[str, ...]
) -> None:
    patches = "".join(
        f"""
  - patch: |-
      apiVersion: eventing.knative.dev/v1
      kind: Trigger
      metadata: {{name: {trigger}, namespace: dsm}}
      $patch: delete"""
        for trigger in triggers
    )
    (tmp_path / "kustomization.yaml").write_text(
        f"""apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [{os.path.relpath(OVERLAY, tmp_path)}]
patches:{patches}
"""
    )
    run = morning(warm_data.copy_to(tmp_path / "d"), tmp_path)
    assert run.code == 1, run.output
    for failure in failures:
        assert failure in run.output


async def test_a_sprint_of_the_seeded_tasks_is_planned_for_the_test_project(
    after: LocalKnative,
) -> None:
    async with after.client("backlog-service") as client:
        seeded = (await client.get("/backlogs/TEST-001")).json()
    assert {task["status"] for task in seeded} == {"unassigned"}
    names = [f"TSK-{number:03d}" for number in range(1, 9)]
    assert sorted(task["task_id"] for task in seeded) == names

    async with after.client("project-orchestrator") as client:
        answer = await client.post("/orchestrate/project/TEST-001", json={})
    assert answer.status_code == 200, answer.text
    assert answer.json()["sprint_id"] == SPRINT
    made = [f"Created new sprint {SPRINT}", "Assigned 8 tasks to sprint"]
    assert answer.json()["actions_taken"][:2] == made
    assert answer.json()["cronjob_name"] == f"run-dailyscrum-test-001-{SPRINT.lower()}"

    async with after.client("sprint-service") as client:
        planned = (await client.get(f"/sprints/{SPRINT}/tasks")).json()
    assert sorted(task["task_id"] for task in planned) == names
    assert {task["assigned_to"] for task in planned} == {"E001", "E002", "E003"}
    async with after.client("backlog-service") as client:
        placed = (await client.get("/backlogs/TEST-001")).json()
    assert {(task["sprint_id"], task["status"]) for task in placed} == {
        (SPRINT, "assigned_to_sprint")
    }

    async def planning() -> list[str]:
        async with after.client("chronicle-service") as client:
            notes = await client.get("/v1/notes/sprint_planning", params={"sprint_id": SPRINT})
        return [note["sprint_id"] for note in notes.json()]

    # The chronicle starts from zero and may get its note behind the answer.
    assert await eventually(planning) == [SPRINT]


async def test_the_sagas_of_the_page_go_as_they_are_written(after: LocalKnative) -> None:
    script = documented_shell.blocks(ROOT / "functions" / "orchestrator" / "README.md", "$O/")
    url = f"http://localhost:{httpx.URL(after.url).port}"
    answers = await asyncio.to_thread(documented_shell.run, script, url)
    assert not documented_shell.untrue(script, answers)

    runs = [json.loads(answer) for answer in answers if '"flowId":' in answer]
    wanted = {run["flowId"]: "UNDONE" if run["run"] == "UNDOING" else "COMPLETED" for run in runs}

    async def ended() -> bool:
        async with after.client("orchestrator") as client:
            path = "/api/orchestrations/tenantCreation/executions"
            found = [(await client.get(f"{path}/{flow_id}")).json() for flow_id in wanted]
        return {run["executionId"]: run["status"] for run in found} == wanted

    assert wanted
    assert await eventually(ended)
