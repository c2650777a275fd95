"""What a killed or stopped runtime leaves behind, and what the next one makes of it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from knative.local.kube import ApiError
from tests.support import eventually
from tests.support.kube_server import (
    CONFIG_MAPS,
    JOBS,
    conditions,
    finished,
    is_alive,
    job,
    kube_client,
    log_of,
    make_kube,
    pods_of,
    python,
    serving,
)

_ONCE = (
    "import os, pathlib, sys, time; p = pathlib.Path(sys.argv[1]); seen = p.exists(); "
    "p.write_text(str(os.getpid())); time.sleep(0 if seen else 60); print('second time')"
)


def once_hanging(marker: Path, **spec: Any) -> dict[str, Any]:
    """A Job whose first process hangs after writing its id to `marker`; the second ends."""
    return job("one", *python(_ONCE), pod={"container": {"args": [str(marker)]}}, **spec)


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def text_of(path: Path) -> str:
    """What a file holds, once it is there."""

    async def written() -> str:
        return read(path)

    return await eventually(written)


async def serve_victim(store: Path, sent: Path) -> asyncio.subprocess.Process:
    """A runtime of its own, to be killed; its URL appears in `told`."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.kube_victim", str(store), str(sent)
    )


async def pid_in(marker: Path) -> int:
    return int(await text_of(marker))


async def died(pid: int) -> None:
    async def is_dead() -> bool:
        return not is_alive(pid)

    await eventually(is_dead)


@pytest.mark.parametrize(
    ("limit", "end"), [(1, "Complete"), (0, "Failed")], ids=["retries left", "no retry left"]
)
async def test_a_job_of_a_killed_runtime_is_taken_up(tmp_path: Path, limit: int, end: str) -> None:
    sent, marker = tmp_path / "url", tmp_path / "pid"
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.kube_victim", str(tmp_path / "store"), str(sent)
    )
    url = await text_of(sent)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        made = await client.post(JOBS, json=once_hanging(marker, backoffLimit=limit))
        assert made.status_code == 201
        pid = await pid_in(marker)
    victim.kill()
    await victim.wait()
    await died(pid)  # the process dies with the runtime
    async with kube_client(tmp_path / "store") as client:
        done = await finished(client)
        assert end in conditions(done)
        assert done["status"]["failed"] == 1
        lost = next(p for p in await pods_of(client) if p["status"]["phase"] == "Failed")
        assert lost["status"]["reason"] == "NodeLost"
        assert "the local runtime ended" in lost["status"]["message"]


async def test_a_job_of_a_stopped_runtime_goes_on_at_the_next_start(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    async with kube_client(tmp_path / "store") as client:
        await client.post(JOBS, json=once_hanging(marker))
        pid = await pid_in(marker)
    await died(pid)
    async with kube_client(tmp_path / "store") as client:
        assert "Complete" in conditions(await finished(client))
        lost = next(p for p in await pods_of(client) if p["status"]["phase"] == "Failed")
        assert lost["status"]["reason"] == "NodeShutdown"


async def test_objects_and_logs_survive_a_restart(tmp_path: Path) -> None:
    async with kube_client(tmp_path) as client:
        await client.post(CONFIG_MAPS, json={"metadata": {"name": "conf"}, "data": {"a": "1"}})
        await client.post(JOBS, json=job("one", *python("print('kept')")))
        before = await finished(client)
        version = int((await client.get(JOBS)).json()["metadata"]["resourceVersion"])
    async with kube_client(tmp_path) as client:
        assert (await client.get(f"{CONFIG_MAPS}/conf")).json()["data"] == {"a": "1"}
        assert (await finished(client)) == before
        assert await log_of(client) == "kept\n"
        assert int((await client.get(JOBS)).json()["metadata"]["resourceVersion"]) >= version


def applied(**changes: Any) -> dict[str, Any]:
    manifest = job("migrate", *python("print('migrated')"), **changes)
    return {**manifest, "metadata": {"name": "migrate", "namespace": "dsm"}}


async def ended(kube: Any) -> None:
    async def is_complete() -> bool:
        return any("Complete" in conditions(one) for one in kube.list("Job", "dsm"))

    await eventually(is_complete)


async def test_an_applied_job_that_has_finished_is_not_run_again(tmp_path: Path) -> None:
    for _ in range(2):
        kube = make_kube(tmp_path)
        kube.apply(applied())
        async with serving(kube):
            await ended(kube)
            assert len(kube.list("Pod", "dsm")) == 1


async def test_an_applied_job_whose_ttl_removed_it_is_made_again(tmp_path: Path) -> None:
    kube = make_kube(tmp_path)
    first = kube.apply(applied(ttlSecondsAfterFinished=0))
    async with serving(kube):

        async def is_gone() -> bool:
            return not kube.list("Job", "dsm")

        await eventually(is_gone)
        second = kube.apply(applied(ttlSecondsAfterFinished=0))
        assert second["metadata"]["uid"] != first["metadata"]["uid"]
        await eventually(is_gone)


async def test_applying_another_template_is_refused_as_kubectl_is(tmp_path: Path) -> None:
    kube = make_kube(tmp_path)
    async with serving(kube):
        kube.apply(applied())
        with pytest.raises(ApiError, match="field is immutable"):
            kube.apply(applied(pod={"container": {"image": "other:2"}}))


async def test_applying_again_removes_what_the_manifest_no_longer_has(tmp_path: Path) -> None:
    kube = make_kube(tmp_path)
    async with serving(kube):
        base = {"apiVersion": "v1", "kind": "ConfigMap"}
        metadata = {"name": "conf", "namespace": "dsm"}
        kube.apply({**base, "metadata": metadata, "data": {"a": "1", "b": "2"}})
        fresh = kube.apply({**base, "metadata": metadata, "data": {"a": "1"}})
        assert fresh["data"] == {"a": "1"}


async def test_changes_of_a_kind_are_reported(tmp_path: Path) -> None:
    kube = make_kube(tmp_path)
    heard: list[tuple[str, str]] = []
    kube.on_change("PingSource", lambda kind, one: heard.append((kind, one["metadata"]["name"])))
    manifest = {
        "apiVersion": "sources.knative.dev/v1",
        "kind": "PingSource",
        "metadata": {"name": "tick", "namespace": "dsm"},
        "spec": {"schedule": "30 8 * * *", "sink": {"uri": "http://sink"}},
    }
    async with (
        serving(kube) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client,
    ):
        kube.apply(manifest)
        place = "/apis/sources.knative.dev/v1/namespaces/dsm/pingsources/tick"
        await client.delete(place)
    assert heard == [("ADDED", "tick"), ("DELETED", "tick")]


async def test_a_process_that_a_jobs_process_left_behind_is_swept(tmp_path: Path) -> None:
    sent, marker = tmp_path / "url", tmp_path / "pid"
    victim = await serve_victim(tmp_path / "store", sent)
    script = f"sleep 300 & echo $! > {marker}.new; mv {marker}.new {marker}; wait"
    url = await text_of(sent)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        await client.post(JOBS, json=job("one", "sh", "-c", script, backoffLimit=0))
        grandchild = await pid_in(marker)
    victim.kill()
    await victim.wait()
    async with kube_client(tmp_path / "store") as client:
        await died(grandchild)
        assert "Failed" in conditions(await finished(client))


async def test_every_job_ends_once_though_the_runtime_is_killed_again_and_again(
    tmp_path: Path,
) -> None:
    names = [f"job-{number}" for number in range(12)]
    for round_number, moment in enumerate((3, 7, 10)):
        sent = tmp_path / f"url{round_number}"
        victim = await serve_victim(tmp_path / "store", sent)
        async with httpx.AsyncClient(
            base_url=await text_of(sent), trust_env=False, timeout=60
        ) as client:
            for name in names[:moment]:
                answer = await client.post(JOBS, json=job(name, "sleep", "0.05"))
                assert answer.status_code in (201, 409)
        victim.kill()
        await victim.wait()
    async with kube_client(tmp_path / "store") as client:
        for name in names:
            answer = await client.post(JOBS, json=job(name, "sleep", "0.05"))
            assert answer.status_code == (409 if name in names[:10] else 201)
        for name in names:
            done = await finished(client, name)
            assert "Complete" in conditions(done)
            assert done["status"]["succeeded"] == 1
            pods = await pods_of(client, name)
            failed = sum(pod["status"]["phase"] == "Failed" for pod in pods)
            assert done["status"].get("failed", 0) == failed
