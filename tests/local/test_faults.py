"""Faults are injected into the calls that they name, and stand in the event's history."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from knative.local.broker import LocalBroker, State
from knative.local.fault import KINDS, Fault
from knative.local.faults import Faults, Targets
from tests.support import eventually
from tests.support.broker import RETRY, Open, publish, wait_settled
from tests.support.command_line import TINY, lines, one_line, run
from tests.support.local_knative import LocalKnative, local_knative
from tests.support.receiver import Receiver, Say

GREETING = "io.example.greeting.v1"


async def _no_process(host: str) -> None:
    raise AssertionError(f"nothing is killed: {host}")


def faults(*texts: str) -> Faults:
    made = Faults(_no_process, Targets({"ns/a": "127.0.0.1"}, {}))
    for text in texts:
        made.add(text)
    return made


async def attempts(broker: LocalBroker) -> list[tuple[int | None, str | None, str | None]]:
    """Status, reason and fault of each attempt, of all events in their order."""
    return [
        (one.status, one.reason, one.fault)
        for record in await broker.events()
        for delivery in record.deliveries
        for one in delivery.attempts
    ]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("status=503 nth=1", (503, "status 503", "status=503 nth=1")),
        (
            "drop-answer trigger=ns/a nth=1",
            (
                None,
                "connection failed: the answer was dropped, a fault on demand",
                "drop-answer trigger=ns/a nth=1",
            ),
        ),
        ("slow=60 host=127.0.0.1 nth=1", (None, "timeout: a fault on demand", None)),
    ],
    ids=["status", "drop-answer", "slow"],
)
async def test_an_attempt_with_a_fault_is_retried(
    open_broker: Open,
    receiver: Receiver,
    text: str,
    first: tuple[int | None, str, str | None],
) -> None:
    delivery = replace(RETRY, timeout_s=0.2)
    async with open_broker(around=faults(text).call, delivery=delivery) as broker:
        assert (await publish(broker, "a", "1")).status == 202
        made = await attempts(broker)
    assert made == [(*first[:2], first[2] or text), (202, None, None)]
    assert len(receiver.requests("/a")) == (1 if "status" in text else 2)


async def test_a_delivery_comes_late_and_another_one_overtakes_it(
    open_broker: Open,
    receiver: Receiver,
) -> None:
    async with open_broker(around=faults("out-of-order=60 nth=1").call) as broker:
        first = asyncio.create_task(publish(broker, "a", "first"))

        async def begun() -> bool:
            return not broker.settled()

        await eventually(begun)
        await publish(broker, "a", "second")
        await asyncio.wait_for(first, 60)
        assert [one[2] for one in await attempts(broker)] == ["out-of-order=60 nth=1", None]
    assert [one.headers["ce-id"] for one in receiver.requests("/a")] == ["second", "first"]


async def test_a_seed_repeats_the_calls_that_a_fault_is_injected_into(
    open_broker: Open,
) -> None:
    async def injected_with(seed: int) -> list[bool]:
        made = faults(f"late=0 probability=0.5 seed={seed}")
        async with open_broker(around=made.call) as broker:
            before = len(await attempts(broker))
            for _ in range(20):
                await publish(broker, "a")
            return [one[2] is not None for one in (await attempts(broker))[before:]]

    once = await injected_with(1)
    assert once == await injected_with(1)
    assert once != await injected_with(2)
    assert set(once) == {True, False}


async def test_a_store_of_before_the_faults_keeps_its_attempts(
    open_broker: Open,
    tmp_path: Path,
) -> None:
    async with open_broker() as broker:
        await publish(broker, "a", "1")
    with contextlib.closing(sqlite3.connect(tmp_path / "broker.db")) as db:
        db.executescript(
            "alter table attempt drop column fault; alter table attempt drop column sink;"
            " pragma user_version=1;"
        )
    async with open_broker(around=faults("status=422").call) as broker:
        await publish(broker, "a", "2")
        await wait_settled(broker)
        assert [one[2] for one in await attempts(broker)] == [None, "status=422", "status=422"]


async def test_a_store_of_before_sinks_were_marked_knows_which_attempts_went_there(
    open_broker: Open, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.will_say("/a", "1", Say(422))
    async with open_broker() as broker:
        await publish(broker, "a", "1")
        await wait_settled(broker)
    with contextlib.closing(sqlite3.connect(tmp_path / "broker.db")) as db:
        db.executescript("alter table attempt drop column sink; pragma user_version=2;")
    async with open_broker() as broker:
        (lost,) = await broker.dead_letters()
    assert [one.sink for one in lost.deliveries[0].attempts] == [False, True]


@pytest.mark.parametrize(
    ("text", "expected_text"),
    [
        ("", "no fault ''; there are: twice, late"),
        ("twise", "no fault 'twise'"),
        ("twice=2", "twice takes no value"),
        ("late", "late takes a value: late=NUMBER, from 0 to 86400"),
        ("status=200", "status=200 is no number from 300 to 599"),
        ("status=422.5", "status=422.5 is no number"),
        ("twice nth=0", "nth=0 is no number from 1"),
        ("twice probability=2", "probability=2 is no number from 0 to 1"),
        ("twice triger=ns/a", "'triger=ns/a' is none of trigger="),
        ("twice trigger=ns/a host=x", "one of trigger, service, host"),
        ("twice nth=1 probability=1", "one of nth, probability"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_what_there_is(
    text: str, expected_text: str
) -> None:
    with pytest.raises(ValueError, match=expected_text.replace("'", ".")):
        Fault.parse(text)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_is_written_as_it_is_read(kind: str) -> None:
    value = "=400" if kind == "status" else "=2" if KINDS[kind] else ""
    text = f"{kind}{value} trigger=ns/a probability=0.5 seed=7"
    assert str(Fault.parse(text)) == text


@pytest.fixture(scope="module")
def knative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKnative]:
    with local_knative(TINY, tmp_path_factory.mktemp("faults")) as runtime:
        yield runtime


@pytest.fixture
def data(knative: LocalKnative) -> Iterator[tuple[str, str]]:
    yield "--data", str(knative.data)
    run("fault", "clear", "--data", str(knative.data))


def test_a_fault_that_is_not_there_cannot_be_cleared(data: tuple[str, str]) -> None:
    assert one_line(run("fault", "clear", "99", *data)).startswith("there is no fault 99")
    assert one_line(run("fault", "clear", "all", *data), 2).startswith("id: must be a number")


@pytest.mark.parametrize("kind", ["kill-before", "kill-after"])
def test_a_process_is_killed_before_or_after_it_answers(data: tuple[str, str], kind: str) -> None:
    def crashes() -> int:
        found = {one["name"]: one["crashes"] for one in lines("services", *data)}
        return int(found["echo"])

    before = crashes()
    text = f"{kind} trigger=dsm/echo-takes-greetings nth=1"
    assert run("fault", *text.split(), *data).returncode == 0
    assert run("send", "--type", GREETING, "--id", kind, *data).returncode == 0
    (record,) = lines("event", kind, *data)
    (delivery,) = record["deliveries"]
    statuses = [one["status"] for one in delivery["attempts"]]
    assert statuses == ([502, 202] if kind == "kill-before" else [202])
    assert delivery["attempts"][0]["fault"].startswith(kind)
    assert delivery["state"] == State.DELIVERED
    assert crashes() == before + 1
    assert "[fault: " in run("event", kind, *data).stdout
    assert "wrong: fault " in run("status", *data).stdout


async def test_a_request_of_a_function_meets_the_faults_of_its_host(
    knative: LocalKnative, data: tuple[str, str]
) -> None:
    async def asked() -> httpx.Response:
        async with knative.client("echo") as client:
            return await client.post("/", content=b"x")

    run("fault", "status=429", "service=dsm/echo", "nth=1", *data)
    assert (await asked()).status_code == 429
    answer = await asked()
    assert (answer.status_code, answer.json()["body"]) == (200, "x")
    run("fault", "drop-answer", "host=echo.dsm.svc.cluster.local", *data)
    assert (await asked()).status_code == 502
    listed = [(one["fault"], one["calls"], one["injected"]) for one in lines("fault", *data)]
    assert listed[0] == ("status=429 service=dsm/echo nth=1", 3, 1)


def test_a_fault_for_what_there_is_not_is_refused(data: tuple[str, str], tmp_path: Path) -> None:
    sent = one_line(run("fault", "twice", "trigger=dsm/nobody", *data), 2)
    assert sent.startswith("no Trigger 'dsm/nobody'; there are: dsm/echo-takes-greetings, ")
    sent = one_line(run("fault", "twice", "service=dsm/nobody", *data), 2)
    assert sent == "no Service 'dsm/nobody'; there are: dsm/echo, dsm/letters"
    assert "needs a target that is a process" in one_line(run("fault", "kill-after", *data), 2)
    assert run("fault", *data).stdout == "no faults\n"
    failed = run("up", str(TINY), "--fault", "twise", "--port", "0", "--data", str(tmp_path))
    assert one_line(failed).startswith("--fault: no fault 'twise'; there are: ")


async def test_an_event_is_handled_in_spite_of_several_faults(
    open_broker: Open,
    receiver: Receiver,
) -> None:
    receiver.will_say("/a", "1", Say(202))
    every = faults("twice nth=1", "late=0 nth=1", "status=503 nth=1", "drop-answer nth=2")
    async with open_broker(around=every.call) as broker:
        assert (await publish(broker, "a", "1")).status == 202
        await wait_settled(broker)
        (event,) = await broker.events()
    assert [one.status for one in event.deliveries[0].attempts] == [503, None, 202]
