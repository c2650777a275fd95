"""Large events cost little and hold up no other."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from functions.job_launcher.main import start
from functions.kit import cloudevents
from tests.support import eventually
from tests.support import webhook_requests as make
from tests.support.cluster import Cluster
from tests.support.job_world import World, deploy, job_world, shipped_routes
from tests.support.loop_load import MAX_TURN_S, serving_others
from tests.support.webhook_requests import post


def storm(count: int, tasks: int = 1) -> dict[str, Any]:
    """One notification of Grafana with many alerts, each with labels of its own."""
    (alert,) = make.ALERT["alerts"]
    alerts = [
        {
            **alert,
            "labels": {
                **alert["labels"],
                "pod": f"pod-{n}",
                f"only_{n}": "x",
                "task_id": f"{7 + n % tasks}",
            },
            "fingerprint": f"{n:016x}",
        }
        for n in range(count)
    ]
    return {**make.ALERT, "alerts": alerts}


async def test_four_thousand_alerts_of_one_task_are_one_job_soon(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    settings = {"WORKSPACE_IMAGE": "dsm-functions"}
    async with job_world(
        cluster, functions_database, tmp_path, routes=shipped_routes(), environ=settings
    ) as world:

        async def cost_s(count: int) -> float:
            data = json.dumps(storm(count)).encode()
            message = cloudevents.Message("storm", f"/{count}", "com.grafana.alert.firing", data)
            before_s = time.process_time()
            async with serving_others():
                assert (await world.tell(message)).is_success
            return time.process_time() - before_s

        await cost_s(1)  # a process's first request costs more
        assert await cost_s(4000) < 1
        async with cluster.client("job-launcher") as client:
            jobs = [
                (await client.get(f"/jobs/{job['job_id']}")).json() for job in await world.jobs()
            ]
    assert [job["task_id"] for job in jobs] == ["7", "7"], "one for each message"
    assert ["alerts.json", "task.md"] in [job["spec"]["files"] for job in jobs]


def tasks_in(world: World, name: str) -> list[str]:
    return [fact["task_id"] for fact in world.emitted(name)]


async def test_each_of_many_tasks_in_one_notification_has_its_job_once(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    count = 350
    data = json.dumps(storm(2 * count, count)).encode()
    message = cloudevents.Message("storm", "/grafana", "com.grafana.alert.firing", data)
    settings = {"WORKSPACE_IMAGE": "dsm-functions", "JOB_CONCURRENCY": "1"}
    async with (
        job_world(
            cluster, functions_database, tmp_path, routes=shipped_routes(), environ=settings
        ) as world,
        serving_others(),
    ):
        for _ in range(2):
            assert (await world.tell(message)).status_code == 202
        await eventually(lambda: has(world, "queued", count), timeout_s=120)
    tasks = tasks_in(world, "queued")
    assert sorted(tasks, key=int) == [str(7 + n) for n in range(count)]


async def has(world: World, name: str, count: int) -> bool:
    return len(tasks_in(world, name)) >= count


async def test_what_a_process_leaves_of_a_notification_another_goes_on_with(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    """And a task that cannot be rendered costs no other."""
    count = 250
    document = storm(count, count)
    document["alerts"][-1]["labels"]["task_id"] = "x" * 300
    data = json.dumps(document).encode()
    message = cloudevents.Message("storm", "/grafana", "com.grafana.alert.firing", data)
    settings = {"WORKSPACE_IMAGE": "dsm-functions", "JOB_CONCURRENCY": "1"}
    async with job_world(
        cluster, functions_database, tmp_path, routes=shipped_routes(), environ=settings
    ) as world:
        cluster.waits = False
        assert (await world.tell(message)).status_code == 202
        await cluster.crash("job-launcher")
        assert len(set(tasks_in(world, "queued"))) < count - 1, "it dies before the end"
        database = await asyncpg.connect(functions_database)
        await database.execute("UPDATE outbox_event SET leased_until = NULL")  # as in 30 s
        await database.close()
        url = str(world.api.base_url)
        ctx = deploy(
            *(cluster, functions_database, tmp_path, url), routes=shipped_routes(), environ=settings
        )
        await start(ctx)
        ctx.resources.durable.relay.start()
        await eventually(lambda: has(world, "queued", count - 1), timeout_s=120)
        await eventually(lambda: has(world, "failed", 1), timeout_s=60)
    first = {fact.id: json.loads(fact.data) for fact in world.facts if "queued" in fact.type}
    assert len(first) == len({one["task_id"] for one in first.values()}) == count - 1


MANY = """
routes:
  - name: alerts
    match: {type: com.grafana.alert.firing}
    each: data.alerts
    job:
      kind: assist
      task_id: "{{ labels.task_id }}"
      service: shop
      command: [echo, "{{ item.labels.pod }}"]
"""


ONE_AT_A_TIME = {"JOB_CONCURRENCY": "1"}


@pytest.mark.parametrize(
    ("change", "now"),
    [
        (("  - name: alerts", "  - name: others"), "others"),
        (("labels.task_id", "item.fingerprint"), "alerts"),
        (("alert.firing}", "alert.resolved}"), "none"),
        (("alert.firing}", "alert.firing, label: only_9*}"), "alerts"),
    ],
    ids=["another route", "other tasks", "no route", "fewer tasks"],
)
async def test_where_the_routes_have_changed_what_remains_of_a_notification_is_given_up(
    cluster: Cluster, functions_database: str, tmp_path: Path, change: tuple[str, str], now: str
) -> None:
    data = json.dumps(storm(250, 250)).encode()
    message = cloudevents.Message("storm", "/grafana", "com.grafana.alert.firing", data)
    database = await asyncpg.connect(functions_database)

    async def given_up() -> bool:
        detail = await database.fetchval("SELECT detail FROM outbox_event WHERE refusal = 422")
        return f"of route alerts, and now route {now} makes another list" in (detail or "")

    async with job_world(
        cluster, functions_database, tmp_path, routes=MANY, environ=ONE_AT_A_TIME
    ) as world:
        cluster.waits = False
        assert (await world.tell(message)).status_code == 202
        await cluster.crash("job-launcher")
        jobs = await database.fetchval("SELECT count(*) FROM job")
        await database.execute("UPDATE outbox_event SET leased_until = NULL")  # as in 30 s
        url = str(world.api.base_url)
        ctx = deploy(
            *(cluster, functions_database, tmp_path, url),
            routes=MANY.replace(*change),
            environ=ONE_AT_A_TIME,
        )
        await start(ctx)
        ctx.resources.durable.relay.start()
        await eventually(given_up)
        assert await database.fetchval("SELECT count(*) FROM job") == jobs
    await database.close()


REFUSES = """
CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.task_id = '127' THEN RAISE EXCEPTION 'no such day' USING ERRCODE = '22008'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuses BEFORE INSERT ON job FOR EACH ROW EXECUTE FUNCTION refuses()
"""


async def test_a_task_that_cannot_be_stored_is_tried_once_and_costs_no_other(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    data = json.dumps(storm(150, 150)).encode()
    message = cloudevents.Message("storm", "/grafana", "com.grafana.alert.firing", data)
    database = await asyncpg.connect(functions_database)
    await database.execute(REFUSES)

    async def given_up() -> bool:
        detail = await database.fetchval("SELECT detail FROM outbox_event WHERE refusal = 422")
        return "1 tasks have no Job, the first: database cannot store" in (detail or "")

    try:
        async with job_world(
            cluster, functions_database, tmp_path, routes=MANY, environ=ONE_AT_A_TIME
        ) as world:
            cluster.waits = False
            assert (await world.tell(message)).status_code == 202
            await eventually(given_up)
            assert await database.fetchval("SELECT count(*) FROM job") == 149
    finally:
        await database.execute("DROP TRIGGER refuses ON job; DROP FUNCTION refuses")
        await database.close()


async def test_a_storm_of_alerts_is_taken_while_others_are_served(
    receiver: httpx.AsyncClient,
) -> None:
    request = make.from_grafana(storm(4000))
    async with serving_others():
        assert (await post(receiver, request)).status_code == 202


async def test_a_loop_that_is_held_is_noticed() -> None:
    def work() -> None:
        until_s = time.thread_time() + 1.5 * MAX_TURN_S
        while time.thread_time() < until_s:
            pass

    with pytest.raises(AssertionError, match="nobody else was served"):
        async with serving_others():
            work()


@pytest.mark.parametrize("kind", ["com.grafana.alert.firing", "com.github.issue.labeled"])
@pytest.mark.parametrize("around", [b"%s", b'{"alerts": %s}', b'{"label": {"name": %s}}'])
async def test_an_event_as_deep_as_a_cave_starts_nothing_and_is_answered_soon(
    cluster: Cluster, functions_database: str, tmp_path: Path, kind: str, around: bytes
) -> None:
    message = cloudevents.Message("deep", "/x", kind, around % (b"[" * 2000 + b"]" * 2000))
    settings = {"WORKSPACE_IMAGE": "dsm-functions"}
    async with job_world(
        cluster, functions_database, tmp_path, routes=shipped_routes(), environ=settings
    ) as world:
        before_s = time.process_time()
        async with serving_others():
            answer = await world.tell(message)
        assert time.process_time() - before_s < 1
        assert answer.status_code in (202, 422), "trying again cannot help"
        assert await world.jobs() == []
