"""What every function promises to a broker and to a user, proven for each that there is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from functions.events.base import AnyEvent
from functions.events.schedule import ScheduleDue
from functions.kit import cloudevents
from functions.kit.process.health import problems
from tests.support import eventually
from tests.support.cluster import Cluster, assert_problem
from tests.support.repository import GOLDEN, all_folders, function_folders, of_kind, spec, target

FUNCTIONS = list(function_folders())
READERS = [name for name in FUNCTIONS if AnyEvent not in spec(name).inputs]
HEARD = [
    pytest.param(name, kind.type, id=f"{name}-{kind.type}")
    for name in FUNCTIONS
    for kind in spec(name).inputs
    if kind is not AnyEvent
]


def example(type_: str, schedules: Sequence[str] = ()) -> cloudevents.Message:
    message = cloudevents.from_json(json.loads((GOLDEN / f"{type_}.json").read_text()))
    if type_ != ScheduleDue.type:
        return message
    return replace(message, extensions={**message.extensions, "schedule": schedules[0]})


@pytest.fixture
def deserted(cluster: Cluster, functions_database: str, tmp_path: Path) -> Cluster:
    """A cluster with our functions and a sink only."""
    (routes,) = (m for m in of_kind("ConfigMap", "v1") if m["metadata"]["name"] == "job-routes")
    (tmp_path / "routes.yaml").write_text(routes["data"]["routes.yaml"])
    known = {"DATABASE_URL": functions_database, "ROUTES_FILE": str(tmp_path / "routes.yaml")}
    for name in FUNCTIONS:
        cluster.deploy(target(name), known)
    return cluster


def service(name: str) -> str:
    return name.replace("_", "-")


@pytest.mark.parametrize("name", all_folders())
def test_folder_and_target_share_one_name(name: str) -> None:
    assert getattr(target(name), "__name__", None) == name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_main_says_what_comes_in_and_out_and_how_it_fails(name: str) -> None:
    text = spec(name).about
    for word in ("in ", "out ", "fails "):
        assert any(line.startswith(word) for line in text.splitlines()), f"no line {word!r}"


@pytest.mark.parametrize("name", FUNCTIONS)
async def test_a_function_can_work_once_its_tables_are_there(
    name: str, cluster: Cluster, functions_database: str
) -> None:
    ctx = cluster.deploy(target(name), {"DATABASE_URL": functions_database})
    assert await problems(ctx, function_folders()[name], inbox=spec(name).inbox) == []


@pytest.mark.parametrize("name", READERS)
async def test_another_type_is_400(name: str, deserted: Cluster) -> None:
    message = cloudevents.Message(id="1", source="/tests", type="com.example.unknown", data=b"{}")
    response = await deserted.tell(service(name), message)
    assert response.status_code == 400
    assert "com.example.unknown" in response.json()["detail"]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"ce-id": "1", "ce-source": "/t", "ce-specversion": "1.0"}, b"{}"),
        ({"ce-id": "", "ce-source": "/t", "ce-type": "t", "ce-specversion": "1.0"}, b"{}"),
        ({"content-type": "application/cloudevents-batch+json"}, b"[]"),
        ({"content-type": "application/cloudevents+json"}, b"{"),
        ({"content-type": "application/json"}, b"{"),
    ],
    ids=["no-type", "empty-id", "batch", "broken-structured", "broken-json"],
)
async def test_what_is_no_event_is_400(
    name: str, headers: dict[str, str], body: bytes, deserted: Cluster
) -> None:
    async with deserted.client(service(name)) as client:
        response = await client.post("/", headers=headers, content=body)
    assert response.status_code == 400
    assert_problem(response)


@pytest.mark.parametrize(("name", "type_"), HEARD)
async def test_data_that_is_no_object_does_not_fit(
    name: str, type_: str, deserted: Cluster
) -> None:
    message = replace(example(type_, spec(name).schedules), data=b'"a string"')
    response = await deserted.tell(service(name), message)
    assert response.status_code == 422
    assert_problem(response)


@pytest.mark.parametrize(("name", "type_"), HEARD)
async def test_broken_data_is_400(name: str, type_: str, deserted: Cluster) -> None:
    response = await deserted.tell(
        service(name), replace(example(type_, spec(name).schedules), data=b"{broken")
    )
    assert response.status_code == 400


@pytest.mark.parametrize(("name", "type_"), HEARD)
async def test_an_answer_is_one_that_a_broker_understands(
    name: str, type_: str, deserted: Cluster
) -> None:
    """With every service away, and again: no 404, no 409, no 500, no body that is no event."""
    message = example(type_, spec(name).schedules)
    answers = [await deserted.tell(service(name), message) for _ in range(2)]
    assert answers[0].status_code == answers[1].status_code
    for response in answers:
        assert response.status_code in (200, 202, 422, 503), response.text
        if response.status_code == 200:
            received = cloudevents.decode(response.headers.raw, response.content)
            assert any(kind.covers(received.type) for kind in spec(name).emits)
            assert received.source == spec(name).source
        elif response.status_code == 202:
            assert response.content == b""
        else:
            assert_problem(response)
            assert ("retry-after" in response.headers) == (response.status_code == 503)


@pytest.mark.parametrize("name", FUNCTIONS)
async def test_an_unknown_path_is_404_and_a_wrong_method_405(name: str, deserted: Cluster) -> None:
    async with deserted.client(service(name)) as client:
        unknown, wrong = await client.get("/no/such/path"), await client.delete("/")
    assert (unknown.status_code, wrong.status_code) == (404, 405)
    assert_problem(unknown)
    assert_problem(wrong)


TICKED = [name for name in FUNCTIONS if ScheduleDue in spec(name).inputs]


@pytest.mark.parametrize(
    "name", [n for n in TICKED if n in READERS and spec(n).schedules != ("*",)]
)
async def test_a_schedule_of_others_is_refused_whatever_the_broker_filters(
    name: str, deserted: Cluster
) -> None:
    response = await deserted.tell(service(name), example(ScheduleDue.type, ["somebody-elses"]))
    assert response.status_code == 400
    assert "somebody-elses" in response.json()["detail"]


@pytest.mark.parametrize("name", TICKED)
async def test_a_scheduled_function_tells_when_it_ran_and_how_it_ended(
    name: str, deserted: Cluster
) -> None:
    answered = await deserted.tell(service(name), example(ScheduleDue.type, spec(name).schedules))
    async with deserted.client(service(name)) as client:
        response = await client.get("/runs", params={"type": ScheduleDue.type})
    assert response.status_code == 200
    (run,) = response.json()["runs"]
    assert run["id"].startswith(spec(name).schedules[0].rstrip("*"))
    assert run["outcome"] == ("ok" if answered.is_success else "failed")


@pytest.mark.parametrize(
    ("forged", "days", "problem"),
    [
        ("time", 2, "has not come yet"),
        ("nominaltime", 2, "has not come yet"),
        ("time", -2000, "is more than five years ago"),
    ],
)
@pytest.mark.parametrize("name", TICKED)
async def test_a_tick_of_another_time_is_refused(
    name: str, forged: str, days: int, problem: str, deserted: Cluster
) -> None:
    due = example(ScheduleDue.type, spec(name).schedules)
    now = datetime.now(UTC)
    at = cloudevents.format_time(now + timedelta(days=days))
    times = {"time": cloudevents.format_time(now), forged: at}
    extensions = {**due.extensions, **times}
    tick = replace(due, time=extensions.pop("time"), extensions=extensions)
    response = await deserted.tell(service(name), tick)
    assert response.status_code == 422
    assert response.json()["detail"] == f"{forged}: {at} {problem}"
    async with deserted.client(service(name)) as client:
        assert (await client.get("/runs")).json()["runs"] == []


async def test_what_killed_functions_have_committed_another_function_sends(
    deserted: Cluster, functions_database: str
) -> None:
    """The kill is between settle and relay: the commit is there, and no event has left."""
    connection = await asyncpg.connect(functions_database)
    deserted.down.add("broker-ingress")
    deserted.waits = False
    committed: dict[str, int] = {}
    for name in (n for n in FUNCTIONS if spec(n).inbox and spec(n).emits):
        for kind in (one for one in spec(name).inputs if one is not AnyEvent):
            message = example(kind.type, spec(name).schedules)
            worker = {"workername": service(name)}
            received = replace(message, extensions={**message.extensions, **worker})
            await deserted.tell(service(name), received)
        await deserted.crash(service(name))
        committed[name] = await connection.fetchval(
            "SELECT count(*) FROM outbox_event WHERE function = $1", name
        )
    # Others need a service's answer before they have anything to tell.
    assert {name for name, count in committed.items() if count} >= {
        *("client_service", "orchestrator", "realm_service"),
    }

    await connection.execute("UPDATE outbox_event SET leased_until = NULL, attempts = 0")
    deserted.down.clear()
    another = deserted.deploy(target("dead_letter"), {"DATABASE_URL": functions_database})

    async def all_are_sent() -> bool:
        await another.resources.durable.relay.sweep()
        return not await connection.fetchval("SELECT count(*) FROM outbox_event")

    assert await eventually(all_are_sent)
    await connection.close()
    messages = deserted.sink.messages
    assert len({(m.source, m.id) for m in messages}) == len(messages) == sum(committed.values())
