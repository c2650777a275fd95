"""The worker kit alone: whatever comes, a step has one effect, and its undo takes back that one."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial
from typing import Any

import asyncpg
import pytest

from functions.events.saga import StepAnswered, StepCommanded
from functions.kit.cloudevents import Message
from functions.kit.context import Context
from functions.kit.contract import function
from functions.kit.durable import retention
from functions.kit.errors import PermanentError, TemporaryError
from functions.saga_sdk import Step, Worker
from tests.support import eventually
from tests.support.cluster import Cluster, message_of

worker = Worker("kit_worker")


@worker.do("write")
async def write(step: Step) -> dict[str, Any]:
    """An effect that can be counted, and then what the payload asks for."""
    await step.tx.execute("INSERT INTO effect (key) VALUES ($1)", step.key)
    match step.payload:
        case "passing":
            raise TemporaryError("not now")
        case "final":
            raise PermanentError("never")
        case "bug":
            raise KeyError("oops")
    return {"wrote": step.key, "saw": step.results}


@worker.undo("write")
async def unwrite(step: Step) -> None:
    await step.tx.execute("INSERT INTO effect (key) VALUES ($1)", f"undo {step.result['wrote']}")


@worker.do("look")
async def look(step: Step) -> None:
    """A step that leaves nothing to be undone."""


class World:
    def __init__(self, cluster: Cluster, database: str, ctx: Context) -> None:
        self.cluster = cluster
        self.database = database
        self.ctx = ctx

    def command(self, action: str, attempt: int, **more: Any) -> Message:
        command = {
            "orch_name": "o",
            "step_name": "write",
            "worker_name": "kit-worker",
            "flowId": "f",
            "effectKey": "f/write/1",
            "seq": 1,
            "deadline": "2030-01-01T00:00:00Z",
            **more,
        }
        event = StepCommanded.model_validate({**command, "action": action, "attempt": attempt})
        return message_of(event)

    async def asked(self, action: str = "DO", attempt: int = 1, **more: Any) -> StepAnswered:
        command = self.command(action, attempt, **more)
        assert (await self.cluster.tell("kit-worker", command)).status_code == 202
        return StepAnswered.model_validate((await self.cluster.answer_to(command)).json())

    async def effects(self) -> list[str]:
        connection = await asyncpg.connect(self.database)
        try:
            return [row["key"] for row in await connection.fetch("SELECT key FROM effect")]
        finally:
            await connection.close()

    async def forget(self, before: str) -> None:
        """What a process does when it starts, after `before`."""
        connection = await asyncpg.connect(self.database)
        await connection.execute(before)
        await connection.close()
        await retention.forget(self.ctx.store, self.ctx.function)

    async def records(self) -> int:
        async with self.ctx.store.connection() as connection:
            found: int = await connection.fetchval("SELECT count(*) FROM journal")
            return found


@pytest.fixture
async def world(cluster: Cluster, functions_database: str) -> World:
    connection = await asyncpg.connect(functions_database)
    await connection.execute("CREATE TABLE effect (key text NOT NULL)")
    await connection.close()
    ctx = cluster.deploy(worker.target(), {"DATABASE_URL": functions_database})
    return World(cluster, functions_database, ctx)


async def test_an_answer_says_whose_it_is_and_what_came_out(world: World) -> None:
    answer = await world.asked(attempt=3, results={"before": 1})
    emitted = (answer.flow_id, answer.step_name, answer.action, answer.attempt, answer.worker_name)
    assert emitted == ("f", "write", "DO", 3, "kit-worker")
    assert answer.metadata.status == "SUCCESS"
    assert answer.result == {"wrote": "f/write/1", "saw": {"before": 1}}


async def test_another_attempt_gets_the_first_result_without_a_second_effect(world: World) -> None:
    first, second = await world.asked(), await world.asked(attempt=2)
    assert (first.result, second.attempt) == (second.result, 2)
    assert await world.effects() == ["f/write/1"]


async def test_attempts_at_the_same_time_have_one_effect(world: World) -> None:
    answers = await asyncio.gather(*(world.asked(attempt=n) for n in range(1, 5)))
    assert {a.metadata.status for a in answers} == {"SUCCESS"}
    assert await world.effects() == ["f/write/1"]


async def test_an_answer_waits_for_no_other_of_its_run(world: World) -> None:
    sink = world.cluster.sink

    async def are_on_their_way(count: int) -> bool:
        return sink.waiting == count

    sink.open.clear()
    async with asyncio.TaskGroup() as tasks:
        for count, step in enumerate(("write", "look"), start=1):
            command = world.command("DO", 1, step_name=step, effectKey=f"f/{step}/1")
            tasks.create_task(world.cluster.tell("kit-worker", command))
            await eventually(partial(are_on_their_way, count))
        sink.open.set()


@pytest.mark.parametrize("inbox", [False, True])
def test_only_what_works_in_its_transaction_can_be_unordered(inbox: bool) -> None:
    async def any_order(event: StepCommanded, ctx: Context) -> None: ...

    with pytest.raises(TypeError, match="any_order: `ordered=False` needs"):
        function(inbox=inbox, ordered=False)(any_order)


@pytest.mark.parametrize(
    ("payload", "final", "message"),
    [("passing", False, "not now"), ("final", True, "never"), ("bug", False, "KeyError: 'oops'")],
)
async def test_a_failure_is_reported_and_leaves_nothing_behind(
    world: World, payload: str, final: bool, message: str
) -> None:
    answer = await world.asked(payload=payload)
    assert answer.metadata.model_dump() == {"status": "FAILED", "error": message, "final": final}
    assert await world.effects() == []
    assert (await world.asked(attempt=2)).metadata.status == "SUCCESS"


async def test_an_undo_takes_back_once_with_the_result_of_the_do(world: World) -> None:
    done = await world.asked()
    for attempt in (1, 2):
        answer = await world.asked("UNDO", attempt, result=done.result)
        assert answer.metadata.status == "SUCCESS"
    assert await world.effects() == ["f/write/1", "undo f/write/1"]


async def test_a_do_after_its_undo_is_refused_for_good(world: World) -> None:
    assert (await world.asked("UNDO")).metadata.status == "SUCCESS"
    late = await world.asked()
    assert (late.metadata.status, late.metadata.final) == ("FAILED", True)
    assert await world.effects() == []


async def test_a_known_effect_is_undone_though_nothing_of_it_is_on_record(world: World) -> None:
    result = {"wrote": "f/write/1"}
    await world.asked("UNDO", result=result, effect=True)
    assert await world.effects() == ["undo f/write/1"]
    await world.asked("UNDO", 2, result=result, effect=True)
    assert await world.effects() == ["undo f/write/1"]


async def test_what_was_done_stays_on_record_until_long_after_its_undo(world: World) -> None:
    long_ago = "UPDATE journal SET done_at = now() - interval '31 days'"
    done = await world.asked()
    await world.forget(long_ago)
    await world.asked(attempt=2)
    assert await world.effects() == ["f/write/1"], "done once, a month later too"
    await world.asked("UNDO", result=done.result)
    assert await world.effects() == ["f/write/1", "undo f/write/1"]
    await world.forget("SELECT")
    assert (await world.asked(attempt=3)).metadata.status == "FAILED", "it stays undone"
    await world.forget(long_ago)
    assert await world.records() == 0


async def test_another_round_is_another_effect(world: World) -> None:
    await world.asked()
    await world.asked("UNDO", result={"wrote": "f/write/1"})
    await world.asked(attempt=2, effectKey="f/write/2")
    assert await world.effects() == ["f/write/1", "undo f/write/1", "f/write/2"]


async def test_a_step_without_undo_is_undone_by_doing_nothing(world: World) -> None:
    for action in ("DO", "UNDO"):
        answer = await world.asked(action, step_name="look", effectKey="f/look/1")
        assert answer.metadata.status == "SUCCESS"


async def test_a_step_that_the_worker_does_not_know_fails_for_good(world: World) -> None:
    answer = await world.asked(step_name="other")
    assert (answer.metadata.status, answer.metadata.final) == ("FAILED", True)
    assert answer.metadata.error == "kit-worker has no such step; its steps are write, look"


async def test_a_command_for_another_worker_is_refused(world: World) -> None:
    command = world.command("DO", 1, worker_name="somebody")
    response = await world.cluster.tell("kit-worker", command)
    assert response.status_code == 422
    assert "'somebody' is not 'kit-worker'" in response.json()["detail"]


@pytest.mark.parametrize("order", list(itertools.permutations(["DO", "DO", "UNDO"]))[::2])
async def test_in_whatever_order_no_effect_outlives_its_undo(
    world: World, order: tuple[str, ...]
) -> None:
    for attempt, action in enumerate(order, 1):
        await world.asked(action, attempt, result={"wrote": "f/write/1"})
    assert await world.effects() in ([], ["f/write/1", "undo f/write/1"])
