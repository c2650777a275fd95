"""Native sidecars: init containers that run beside the others, and end after them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import eventually
from tests.support.kube_server import (
    JOBS,
    PODS,
    conditions,
    finished,
    job,
    log_of,
    pods_of,
    python,
    start,
)

# Writes down that it began, and at SIGTERM what the others have left in the shared folder.
COLLECTOR = """
import pathlib, signal, sys, time
seen, shared = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
def end(*_):
    seen.write_text(" ".join(sorted(one.name for one in shared.iterdir())))
    raise SystemExit({code})
signal.signal(signal.SIGTERM, end)
(shared / "collector-runs").touch()
while True:
    time.sleep(60)
"""


def container(name: str, code: str, *args: str, **more: Any) -> dict[str, Any]:
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    command = [*python(code), *args]
    return {"name": name, "image": "busybox:1", "command": command, "volumeMounts": mounts, **more}


def collector(seen: Path, code: int = 0) -> dict[str, Any]:
    text = COLLECTOR.format(code=code)
    return container("collector", text, str(seen), "/shared", restartPolicy="Always")


def manifest(seen: Path, main: str, *, exit_code: int = 0, **spec: Any) -> dict[str, Any]:
    """First an ordinary init container, then the sidecar, then the main one."""
    first = container("first", "import sys, pathlib; pathlib.Path(sys.argv[1]).touch()")
    first["command"] += ["/shared/first"]
    pod = {
        "initContainers": [first, collector(seen, exit_code)],
        "containers": [container("main", main, "/shared")],
        "volumes": [{"name": "shared", "emptyDir": {}}],
        **spec.pop("pod", {}),
    }
    return job("one", backoffLimit=0, pod=pod, **spec)


TOUCH = """
import sys, pathlib, time
shared = pathlib.Path(sys.argv[1])
assert (shared / "first").exists(), "an ordinary init container ends before"
while not (shared / "collector-runs").exists():
    time.sleep(0.02)
(shared / "main").touch()
print("touched", flush=True)
"""


async def test_a_sidecar_runs_beside_the_others_and_ends_after_them(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    await start(client, manifest(seen, TOUCH))
    assert "Complete" in conditions(await finished(client))
    assert seen.read_text() == "collector-runs first main"


async def test_the_exit_code_of_a_sidecar_decides_nothing(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    await start(client, manifest(tmp_path / "seen", TOUCH, exit_code=3))
    assert "Complete" in conditions(await finished(client))
    (pod,) = await pods_of(client)
    ended = pod["status"]["initContainerStatuses"][1]["state"]["terminated"]
    assert (pod["status"]["phase"], ended["exitCode"]) == ("Succeeded", 3)


async def test_a_sidecar_sees_what_a_failed_container_has_left(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    await start(client, manifest(seen, TOUCH + "raise SystemExit(7)"))
    assert "Failed" in conditions(await finished(client))
    assert seen.read_text() == "collector-runs first main"


async def test_at_the_deadline_a_sidecar_ends_after_a_container_that_ignores_sigterm(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, lambda *_: None)\n"
        + TOUCH
        + "while True: time.sleep(60)"
    )
    pod = {"terminationGracePeriodSeconds": 1}
    await start(client, manifest(seen, stubborn, pod=pod, activeDeadlineSeconds=2))
    assert conditions(await finished(client))["Failed"] == "DeadlineExceeded"

    async def is_gone() -> bool:
        return await pods_of(client) == []

    await eventually(is_gone)
    assert seen.read_text() == "collector-runs first main"


async def test_a_deleted_job_ends_its_sidecar_last(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    await start(client, manifest(seen, TOUCH + "import time; time.sleep(60)"))

    async def has_touched() -> bool:
        return bool(await pods_of(client)) and "touched" in await log_of(client)

    await eventually(has_touched)
    (pod,) = await pods_of(client)
    assert {c["type"] for c in pod["status"]["conditions"] if c["status"] == "True"} >= {
        "Initialized",
        "Ready",
    }
    await client.delete(f"{JOBS}/one", params={"propagationPolicy": "Background"})

    async def is_gone() -> bool:
        return await pods_of(client) == []

    await eventually(is_gone)
    assert seen.read_text() == "collector-runs first main"


async def test_a_sidecar_that_ends_early_is_started_again(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    marks.touch()
    often = "import sys, pathlib; pathlib.Path(sys.argv[1]).open('a').write('x')"
    until_third = (
        "import sys, pathlib, time\n"
        "while len(pathlib.Path(sys.argv[1]).read_text()) < 3: time.sleep(0.02)"
    )
    sidecar = container("often", often, str(marks), restartPolicy="Always")
    pod = {
        "initContainers": [sidecar],
        "containers": [container("main", until_third, str(marks))],
        "volumes": [{"name": "shared", "emptyDir": {}}],
    }
    await start(client, job("one", backoffLimit=0, pod=pod))
    assert "Complete" in conditions(await finished(client))
    (ended,) = await pods_of(client)
    assert ended["status"]["initContainerStatuses"][0]["restartCount"] >= 2


async def test_the_log_of_a_sidecar_can_be_read(client: httpx.AsyncClient) -> None:
    code = (
        "import sys, pathlib, time; print('beside', flush=True);"
        "pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
    )
    talker = container("talker", code, "/shared/collector-runs", restartPolicy="Always")
    pod = {
        "initContainers": [container("first", "open('/dev/null')"), talker],
        "containers": [container("main", TOUCH.replace("assert", "#"), "/shared")],
        "volumes": [{"name": "shared", "emptyDir": {}}],
    }
    await start(client, job("one", pod=pod))
    await finished(client)
    (found,) = await pods_of(client)
    path = f"{PODS}/{found['metadata']['name']}/log"
    answer = await client.get(path, params={"container": "talker"})
    assert "beside" in answer.text


async def test_only_an_init_container_may_have_a_restart_policy(client: httpx.AsyncClient) -> None:
    wrong = {"name": "first", "image": "busybox:1", "restartPolicy": "OnFailure"}
    answer = await client.post(JOBS, json=job("one", pod={"initContainers": [wrong]}))
    assert answer.status_code == 422
    assert 'Unsupported value: "OnFailure"' in answer.json()["message"]
    answer = await client.post(
        JOBS, json=job("one", pod={"container": {"restartPolicy": "Always"}})
    )
    assert answer.status_code == 422
    assert "may not be set for non-init containers" in answer.json()["message"]


# Counts its starts, and has started once it says so; before that, SIGTERM is its end.
LATE = """
import pathlib, signal, sys, time
seen, shared, begins_at = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
start = len(list(shared.glob("start-*")))
(shared / f"start-{start}").touch()
if start == begins_at:
    def end(*_):
        seen.write_text(" ".join(sorted(one.name for one in shared.iterdir())))
        raise SystemExit(0)
    signal.signal(signal.SIGTERM, end)
    (shared / "started").touch()
while True:
    time.sleep(60)
"""


def late(seen: Path, begins_at: int) -> dict[str, Any]:
    probe = {
        "exec": {"command": ["test", "-e", "/shared/started"]},
        "periodSeconds": 1,
        "failureThreshold": 2,
    }
    arguments = (str(seen), "/shared", str(begins_at))
    return container("late", LATE, *arguments, restartPolicy="Always", startupProbe=probe)


@pytest.mark.parametrize("begins_at", [0, 1])
async def test_the_others_wait_until_the_startup_probe_of_a_sidecar_succeeds(
    client: httpx.AsyncClient, tmp_path: Path, begins_at: int
) -> None:
    main = "import pathlib, sys; (pathlib.Path(sys.argv[1]) / 'main').touch()"
    pod = {"initContainers": [late(tmp_path / "seen", begins_at)]}
    await start(client, manifest(tmp_path / "seen", main, pod=pod))
    assert "Complete" in conditions(await finished(client))
    starts = " ".join(f"start-{number}" for number in range(begins_at + 1))
    assert (tmp_path / "seen").read_text() == f"main {starts} started"


async def test_a_pod_that_is_deleted_waits_no_more_for_a_startup_probe(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    pod = {"initContainers": [late(tmp_path / "seen", 99)], "terminationGracePeriodSeconds": 1}
    await start(client, manifest(tmp_path / "seen", "raise SystemExit(1)", pod=pod))

    async def begun() -> bool:
        pods = await pods_of(client)
        found: list[Any] = pods[0]["status"].get("initContainerStatuses", []) if pods else []
        return bool(found) and "running" in found[0]["state"]

    await eventually(begun)
    [pod_of_it] = await pods_of(client)
    name = pod_of_it["metadata"]["name"]
    assert (await client.delete(f"{PODS}/{name}")).is_success

    async def gone() -> bool:
        return (await client.get(f"{PODS}/{name}")).status_code == 404

    await eventually(gone)
