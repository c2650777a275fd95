"""PostgreSQL, Jobs, concurrency, scale to zero, and what survives a kill -9."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.support import eventually
from tests.support.local_knative import LocalKnative, local_knative
from tests.support.manifest_files import BROKER, write

OVERLAYS = Path(__file__).parent / "overlays"
TINY = OVERLAYS / "tiny"


@pytest.fixture(scope="module")
def knative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKnative]:
    with local_knative(TINY, tmp_path_factory.mktemp("parts")) as runtime:
        yield runtime


async def test_a_job_finds_its_database_by_the_clusters_address_at_every_start(
    tmp_path: Path,
) -> None:
    for runs in (1, 2):
        with local_knative(OVERLAYS / "jobs", tmp_path) as runtime:
            async with runtime.client("echo") as client:
                env = (await client.get("/")).json()["env"]
            directory = env["PGHOST"]
            assert "%2F" in env["DATABASE_URL"]
            connection = await asyncpg.connect(env["DATABASE_URL"])
            assert await connection.fetchval("SELECT count(*) FROM run") == runs
            names = await connection.fetch("SELECT datname FROM pg_database")
            assert {"projects", "sprints", "functions"} <= {row["datname"] for row in names}
            await connection.close()
        gone = Path(directory) / ".s.PGSQL.5432"
        assert not gone.exists()  # the server was stopped


async def test_container_concurrency_queues_what_is_too_much(tmp_path: Path) -> None:
    with local_knative(OVERLAYS / "jobs", tmp_path) as runtime:
        async with runtime.client("echo") as client:
            loop = asyncio.get_running_loop()
            start = loop.time()
            answers = await asyncio.gather(*(client.get("/?sleep_s=0.3") for _ in range(3)))
            assert [answer.status_code for answer in answers] == [200, 200, 200]
            assert loop.time() - start >= 0.9
            late = await asyncio.gather(*(client.get("/?sleep_s=3") for _ in range(2)))
            assert sorted(answer.status_code for answer in late) == [200, 504]


async def test_an_idle_process_is_stopped_and_comes_back(tmp_path: Path) -> None:
    with local_knative(TINY, tmp_path, "--idle", "0.5") as runtime:

        async def at_zero() -> bool:
            return all(one["state"] == "zero" for one in await runtime.ask("services"))

        assert await eventually(at_zero)
        async with runtime.client("echo") as client:
            assert (await client.get("/")).status_code == 200


async def test_events_survive_a_kill_of_the_runtime(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    overlay = write(
        tmp_path / "overlay",
        objects=f"""{BROKER}---
    apiVersion: serving.knative.dev/v1
    kind: Service
    metadata: {{name: slow}}
    spec:
      template:
        spec:
          timeoutSeconds: 60
          containers:
          - image: echo
            command: [python, -m, tests.support.echo]
            env: [{{name: RECORD, value: {record}}}]
            readinessProbe: {{httpGet: {{path: /health}}}}
---
    apiVersion: eventing.knative.dev/v1
    kind: Trigger
    metadata: {{name: to-slow}}
    spec:
      broker: default
      delivery: {{retry: 5, backoffPolicy: exponential, backoffDelay: PT0.1S}}
      subscriber:
        ref: {{apiVersion: serving.knative.dev/v1, kind: Service, name: slow}}
        uri: /?sleep_s=0.5
""",
    )
    runtime = LocalKnative(overlay, tmp_path / "data").start()
    producers = [asyncio.create_task(runtime.send("io.example.a.v1", n)) for n in range(40)]

    async def stored() -> bool:
        return len(await runtime.ask("events")) == 40

    assert await eventually(stored)
    pid = (await runtime.ask("services"))[0]["pid"]
    runtime.kill()
    for outcome in await asyncio.gather(*producers, return_exceptions=True):
        assert outcome == 202 or isinstance(outcome, httpx.TransportError)

    async def child_is_gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    assert await eventually(child_is_gone)
    runtime.start()
    assert await eventually(runtime.settled)
    events = await runtime.ask("events")
    assert len(events) == 40
    assert {d["state"] for event in events for d in event["deliveries"]} == {"delivered"}
    runtime.stop()


PING_SOURCES = "/kubernetes/apis/sources.knative.dev/v1/namespaces/dsm/pingsources"
BROKER_SINK = {
    "ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "default"}
}


def ping_source(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "sources.knative.dev/v1",
        "kind": "PingSource",
        "metadata": {"name": "added"},
        "spec": {"schedule": "0 0 1 1 *", "sink": BROKER_SINK, **spec},
    }


async def test_a_schedule_added_through_the_kubernetes_api_can_be_fired(tmp_path: Path) -> None:
    with local_knative(TINY, tmp_path) as runtime:
        async with runtime.client() as client:
            schedule = ping_source(timezone=None)  # null: not set
            assert (await client.post(PING_SOURCES, json=schedule)).status_code == 201
            assert await runtime.fire("added") == 202
            assert (await client.delete(f"{PING_SOURCES}/added")).status_code == 200
            gone = await client.post("/_knative/fire", params={"name": "added"})
        assert gone.status_code == 404


async def test_a_schedule_that_cannot_run_is_refused_and_not_stored(
    knative: LocalKnative,
) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"schedule": "61 * * * * *"}, "'61' is outside of 0 to 59: spec.schedule"),
        ({"schedule": "0 0 L * *"}, "'L' is not a number: spec.schedule"),
        ({"bogus": 1}, "spec.bogus: there is no bogus here"),
        ({"sink": {"uri": "/relative"}}, "spec.sink: the uri '/relative' must be absolute"),
    ]
    async with knative.client() as client:
        for spec, text in bad:
            answer = await client.post(PING_SOURCES, json=ping_source(**spec))
            assert answer.status_code == 400
            assert text in answer.json()["message"]
        held = (await client.get(PING_SOURCES)).json()["items"]
    assert [one["metadata"]["name"] for one in held] == ["morning"]


async def test_a_stored_schedule_that_cannot_run_does_not_keep_the_others_from_starting(
    tmp_path: Path,
) -> None:
    with local_knative(TINY, tmp_path) as runtime:
        async with runtime.client() as client:
            await client.post(PING_SOURCES, json=ping_source())
    with contextlib.closing(sqlite3.connect(tmp_path / "kube" / "kube.sqlite")) as db, db:
        db.execute(
            "update objects set body = json_set(body, '$.spec.schedule', '0 0 L * *')"
            " where kind = 'PingSource' and name = 'added'"
        )
    with local_knative(TINY, tmp_path) as runtime:
        names = [one["name"] for one in (await runtime.ask("status"))["schedules"]]
    assert names == ["morning"]


async def test_a_large_body_streams_through_both_ways(tmp_path: Path) -> None:
    async def chunks(size: int = 64 * 1024, count: int = 64) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * size

    with local_knative(TINY, tmp_path) as runtime:
        async with runtime.client("echo") as client:
            answer = await client.post("/", content=chunks())
    assert len(answer.json()["body"]) == 4 * 1024 * 1024


@pytest.mark.parametrize("arguments", [("--deliver-twice",)])
async def test_deliver_twice_delivers_each_event_twice(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    with local_knative(TINY, tmp_path, *arguments) as runtime:
        await runtime.send("io.example.greeting.v1", {})
        assert await eventually(runtime.settled)
        (event,) = await runtime.ask("events")
    assert [d["repeated"] for d in event["deliveries"]] == [False, True]


async def test_localhost_leads_to_the_service_in_front_but_for_its_own_paths(
    tmp_path: Path,
) -> None:
    with local_knative(TINY, tmp_path, "--front", "dsm/echo") as runtime:
        async with runtime.client() as client:
            answer = await client.post("/api/orchestration/register", content=b"hello")
            assert (answer.json()["path"], answer.json()["body"]) == (
                "/api/orchestration/register",
                "hello",
            )
            assert (await client.get("/_knative/settled")).json().keys() >= {"settled"}
            assert (await client.get("/kubernetes/version")).json()["gitVersion"]
            assert (await client.get("/")).json()["administration"] == "/_knative/status"


async def test_the_kubernetes_api_says_how_each_service_is(tmp_path: Path) -> None:
    serving = "/kubernetes/apis/serving.knative.dev/v1/namespaces/dsm"

    async def conditions(kind: str, name: str) -> dict[str, Any]:
        async with runtime.client() as client:
            answer = await client.get(f"{serving}/{kind}/{name}")
        found = answer.json().get("status", {}).get("conditions", ())
        return {one["type"]: one for one in found}

    async def is_active(wanted: str) -> bool:
        found = await conditions("revisions", "echo-00001")
        return bool(found) and found["Active"]["status"] == wanted

    # Kept for longer than it takes to write a status.
    with local_knative(TINY, tmp_path, "--idle", "3") as runtime:
        async with runtime.client("echo") as client:
            assert (await client.get("/")).is_success
        assert await eventually(partial(is_active, "True"))
        assert (await conditions("services", "echo"))["Ready"]["status"] == "True"
        assert await eventually(partial(is_active, "False"))
        async with runtime.client() as client:
            listed = (await client.get(f"{serving}/revisions")).json()["items"]
        labels = [one["metadata"]["labels"]["serving.knative.dev/service"] for one in listed]
        assert labels == ["echo", "letters"]

        # Its processes are no pods: they are counted here.
        async with runtime.client("echo") as client:
            assert (await client.get("/")).is_success
        (echo,) = [one for one in await runtime.ask("services") if one["name"] == "echo"]
        os.kill(echo["pid"], signal.SIGKILL)

        async def counts() -> list[str]:
            async with runtime.client() as client:
                answer = await client.get(f"{serving}/revisions/echo-00001")
            written = answer.json()["metadata"]["annotations"]
            return [written[f"local.knative.dev/{name}"] for name in ("starts", "crashes")]

        async def is_counted() -> bool:
            return await counts() == ["2", "1"]

        assert await eventually(is_counted), await counts()


async def test_a_front_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="--front dsm/nobody: there is no such Service"):
        LocalKnative(TINY, tmp_path, ["--front", "dsm/nobody"]).start()


async def test_an_api_server_source_tells_the_broker_of_jobs(tmp_path: Path) -> None:
    source = """
    apiVersion: sources.knative.dev/v1
    kind: ApiServerSource
    metadata: {name: jobs}
    spec:
      resources: [{apiVersion: batch/v1, kind: Job}]
      sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}
    """
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "hello"},
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "a", "image": "a", "command": ["true"]}],
                }
            }
        },
    }
    overlay = write(tmp_path / "overlay", objects=f"{BROKER}---{source}")
    with local_knative(overlay, tmp_path / "data") as runtime:
        async with runtime.client() as client:
            base = "/kubernetes/apis/batch/v1/namespaces/dsm/jobs"
            assert (await client.post(base, json=job)).status_code == 201

        async def sent() -> bool:
            kinds = [e["attributes"]["type"] for e in await runtime.ask("events")]
            return "dev.knative.apiserver.ref.add" in kinds

        assert await eventually(sent)


async def test_a_service_that_started_before_stays_at_zero_at_the_next_up(tmp_path: Path) -> None:
    starts = []
    for _ in range(2):
        with local_knative(TINY, tmp_path) as runtime:
            starts.append([one["starts"] for one in await runtime.ask("services")])
            async with runtime.client("echo") as client:
                assert (await client.get("/")).status_code == 200
    assert starts == [[1, 1], [0, 0]]
