"""What @function promises for every function, shown on one that counts."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import httpx
import pytest

from functions.events.base import Event, Request
from functions.kit import cloudevents
from functions.kit.context import Context
from functions.kit.contract import function
from functions.kit.errors import PermanentError, TemporaryError
from tests.support import eventually
from tests.support.cluster import Cluster, assert_problem, message_of, reply_of


class CountAsked(Request):
    type: ClassVar[str] = "test.count.asked.v1"
    up_to: int = 1
    fail: str | None = None


class Ticked(Event):
    type: ClassVar[str] = "test.ticked.v1"
    word: str = ""


class Counted(Event):
    type: ClassVar[str] = "test.counted.v1"
    number: int

    def subject(self) -> str:
        return f"n{self.number}"


calls: list[str] = []
gate = asyncio.Event()


async def count(event: CountAsked | Ticked, ctx: Context) -> list[Event]:
    calls.append(ctx.key)
    if isinstance(event, Ticked):
        return []
    match event.fail:
        case "permanent":
            raise PermanentError("no " * 1000)
        case "temporary":
            raise TemporaryError("later", delay_s=7)
        case "bug":
            raise ZeroDivisionError("secret")
        case "partly":
            raise TemporaryError("some failed", events=[Counted(number=1)])
        case "wait":
            await gate.wait()
    return [Counted(number=n) for n in range(event.up_to)]


@function(emits=[Counted])
async def counter(event: CountAsked | Ticked, ctx: Context) -> list[Event]:
    return await count(event, ctx)


@function(emits=[Counted], inbox=True)
async def careful(event: CountAsked | Ticked, ctx: Context) -> list[Event]:
    return await count(event, ctx)


@pytest.fixture
def two(cluster: Cluster, functions_database: str) -> Cluster:
    """A cluster with both functions; the one with an inbox has a database."""
    calls.clear()
    gate.clear()
    cluster.deploy(counter)
    cluster.deploy(careful, {"DATABASE_URL": functions_database})
    return cluster


@pytest.mark.parametrize("name", ["counter", "careful"])
class TestEveryFunction:
    async def test_no_event_out_is_an_empty_202(self, two: Cluster, name: str) -> None:
        response = await two.tell(name, Ticked())
        assert (response.status_code, response.content) == (202, b"")

    async def test_one_event_out_is_about_its_cause(self, two: Cluster, name: str) -> None:
        cause = message_of(CountAsked(up_to=1))
        reply = await two.ask(name, cause)
        emitted = (reply.type, reply.subject, reply.source)
        assert emitted == (Counted.type, "n0", f"/functions/{name}")
        assert reply.extensions == {
            "correlationid": cause.id,
            "causationid": cause.id,
            "partitionkey": "n0",
        }

    async def test_several_events_go_to_the_sink(self, two: Cluster, name: str) -> None:
        response = await two.tell(name, CountAsked(up_to=3))
        assert (response.status_code, response.content) == (202, b"")
        assert sorted(e.number for e in two.sink.of(Counted)) == [0, 1, 2]

    async def test_overrides_of_the_sink_binding_are_on_each_event(
        self, cluster: Cluster, functions_database: str, name: str
    ) -> None:
        environ = {"K_CE_OVERRIDES": '{"extensions":{"region":"eu"}}'}
        cluster.deploy(
            {"counter": counter, "careful": careful}[name],
            environ | {"DATABASE_URL": functions_database},
        )
        one = await cluster.ask(name, CountAsked(up_to=1))
        await cluster.tell(name, CountAsked(up_to=2))
        emitted = [one, *cluster.sink.messages[-2:]]
        assert [m.extensions["region"] for m in emitted] == ["eu"] * 3

    @pytest.mark.parametrize(
        ("fail", "status", "detail"),
        [
            ("permanent", 422, "no no"),
            ("temporary", 503, "later"),
            ("bug", 500, "ZeroDivisionError"),
        ],
    )
    async def test_errors_become_statuses_with_short_bodies(
        self, two: Cluster, name: str, fail: str, status: int, detail: str
    ) -> None:
        response = await two.tell(name, CountAsked(fail=fail))
        assert response.status_code == status
        assert response.json()["detail"].startswith(detail)
        assert "secret" not in response.text
        assert_problem(response)
        assert response.headers.get("retry-after") == ("7" if status == 503 else None)

    async def test_facts_that_are_true_leave_although_the_rest_failed(
        self, two: Cluster, name: str
    ) -> None:
        response = await two.tell(name, CountAsked(fail="partly"))
        assert response.status_code == 503
        assert [e.number for e in two.sink.of(Counted)] == [1]

    @pytest.mark.parametrize(
        ("message", "status", "expected_text"),
        [
            (cloudevents.Message("1", "/x", "other.type"), 400, "is not handled here"),
            (cloudevents.Message("1", "/x", CountAsked.type, b"{"), 400, "not valid JSON"),
            (cloudevents.Message("1", "/x", CountAsked.type, b'{"up_to":"x"}'), 422, "up_to"),
            (cloudevents.Message("1", "/x", CountAsked.type, b'{"upto":1}'), 422, "upto"),
            (cloudevents.Message("1", "/x", CountAsked.type, b"[]"), 422, "object"),
        ],
        ids=["unknown type", "broken JSON", "wrong field", "misspelt field", "no object"],
    )
    async def test_bad_events_are_refused_with_a_reason(
        self, two: Cluster, name: str, message: cloudevents.Message, status: int, expected_text: str
    ) -> None:
        response = await two.tell(name, message)
        assert response.status_code == status
        assert expected_text in response.json()["detail"]
        assert not calls

    async def test_a_batch_is_refused_with_a_reason(self, two: Cluster, name: str) -> None:
        async with two.client(name) as client:
            response = await client.post(
                "/", content=b"[]", headers={"Content-Type": cloudevents.BATCH}
            )
        assert response.status_code == 400
        assert "one event" in response.json()["detail"]

    async def test_a_structured_event_is_taken(self, two: Cluster, name: str) -> None:
        event = {"specversion": "1.0", "id": "1", "source": "/x", "type": CountAsked.type}
        async with two.client(name) as client:
            response = await client.post(
                "/",
                json={**event, "data": {"up_to": 2}},
                headers={"Content-Type": cloudevents.STRUCTURED},
            )
        assert response.status_code == 202
        assert two.sink.types() == [Counted.type] * 2

    async def test_a_user_gets_json_and_the_events_go_out(self, two: Cluster, name: str) -> None:
        async with two.client(name) as client:
            answer = (await client.post("/", json={"up_to": 1})).json()
        assert answer["published"] is True
        assert answer["events"][0]["data"] == {"number": 0}
        assert [m.id for m in two.sink.messages] == [answer["events"][0]["id"]]

    async def test_a_user_who_repeats_a_key_gets_the_same_ids(
        self, two: Cluster, name: str
    ) -> None:
        async with two.client(name) as client:
            answers = [
                (await client.post("/", json={}, headers={"Idempotency-Key": "mine"})).json()
                for _ in range(2)
            ]
        assert answers[0]["events"][0]["id"] == answers[1]["events"][0]["id"]

    async def test_an_unknown_path_or_method_is_reported(self, two: Cluster, name: str) -> None:
        async with two.client(name) as client:
            for response in (await client.get("/nothing"), await client.get("/")):
                assert response.status_code in (404, 405)
                assert response.json()["detail"]


class TestFunctionsWithoutAnInbox:
    async def test_one_event_out_is_the_reply(self, two: Cluster) -> None:
        reply = reply_of(await two.tell("counter", CountAsked(up_to=1)))
        assert reply.type == Counted.type
        assert two.sink.messages == []

    async def test_a_repeat_says_the_same_under_the_same_ids(self, two: Cluster) -> None:
        cause = message_of(CountAsked(up_to=2))
        for _ in range(2):
            await two.tell("counter", cause)
        ids = [m.id for m in two.sink.messages]
        assert sorted(ids[:2]) == sorted(ids[2:])
        assert len(set(ids)) == 2

    async def test_a_sink_that_is_down_means_503_and_come_again(self, two: Cluster) -> None:
        cause = message_of(CountAsked(up_to=2))
        two.sink.statuses = [500]
        assert (await two.tell("counter", cause)).status_code == 503
        assert (await two.tell("counter", cause)).status_code == 202
        assert len({m.id for m in two.sink.messages}) == 2


class TestFunctionsWithAnInbox:
    async def test_the_answer_does_not_wait_for_the_sink(self, two: Cluster) -> None:
        two.sink.open.clear()
        headers, body = cloudevents.encode(message_of(CountAsked(up_to=1)))
        async with httpx.AsyncClient(transport=two, base_url="http://careful") as broker:
            response = await broker.post("/", headers=headers, content=body)
        assert (response.status_code, response.content) == (202, b"")
        assert two.sink.messages == []
        two.sink.open.set()
        await two.relayed()
        assert two.sink.types() == [Counted.type]

    async def test_a_sink_that_is_down_costs_no_event(self, two: Cluster) -> None:
        two.sink.statuses = [500, 500]
        assert (await two.tell("careful", CountAsked(up_to=2))).status_code == 202

        async def both() -> bool:
            return len(two.sink.messages) == 2

        assert await eventually(both)

    async def test_a_repeat_has_no_second_effect(self, two: Cluster) -> None:
        cause = message_of(CountAsked(up_to=1))
        for _ in range(2):
            assert (await two.tell("careful", cause)).status_code == 202
        assert len(calls) == 1
        assert two.sink.types() == [Counted.type]

    async def test_the_second_of_two_at_once_waits_for_the_first(self, two: Cluster) -> None:
        cause = message_of(CountAsked(fail="wait"))
        both = [asyncio.create_task(two.tell("careful", cause)) for _ in range(2)]
        await eventually(_called)
        gate.set()
        assert [response.status_code for response in await asyncio.gather(*both)] == [202, 202]
        assert len(calls) == 1
        assert two.sink.types() == [Counted.type]

    async def test_the_second_gives_up_at_its_deadline(
        self, cluster: Cluster, functions_database: str
    ) -> None:
        calls.clear()
        gate.clear()
        cluster.deploy(careful, {"DATABASE_URL": functions_database, "TIMEOUT_SECONDS": "0.2"})
        cause = message_of(CountAsked(fail="wait"))
        first = asyncio.create_task(cluster.tell("careful", cause))
        await eventually(_called)
        second = await cluster.tell("careful", cause)
        assert second.status_code == 503
        assert "still being worked on" in second.json()["detail"]
        gate.set()
        assert (await first).status_code == 202

    async def test_a_failure_is_not_recorded_as_an_answer(self, two: Cluster) -> None:
        cause = message_of(CountAsked(fail="temporary"))
        for _ in range(2):
            assert (await two.tell("careful", cause)).status_code == 503
        assert len(calls) == 2

    async def test_runs_tell_what_ran_good_and_bad(self, two: Cluster) -> None:
        await two.tell("careful", Ticked())
        await two.tell("careful", CountAsked(fail="permanent"))
        async with two.client("careful") as client:
            runs = (await client.get("/runs")).json()["runs"]
            assert (await client.get("/runs?limit=0")).status_code == 422
            assert (await client.get(f"/runs?cursor={'9' * 5000}")).status_code == 422
        assert [run["outcome"] for run in runs] == ["failed", "ok"]
        assert runs[0]["detail"].startswith("PermanentError: no")

    async def test_runs_of_a_day_come_with_what_they_answered(self, two: Cluster) -> None:
        await two.tell("careful", Ticked())
        now, second = datetime.now(UTC), timedelta(seconds=60)
        async with two.client("careful") as client:

            async def runs(**query: str) -> list[dict[str, Any]]:
                found: list[dict[str, Any]] = (await client.get("/runs", params=query)).json()[
                    "runs"
                ]
                return found

            (run,) = await runs(since=(now - second).isoformat(), answers="true")
            assert await runs(since=(now + second).isoformat()) == []
            assert await runs(before=(now - second).isoformat()) == []
            wrong = await client.get("/runs?since=yesterday")
        assert isinstance(run["answer"], list)
        assert wrong.status_code == 422
        assert "since: must be an instant" in wrong.json()["detail"]

    async def test_a_database_that_is_away_means_503(self, cluster: Cluster) -> None:
        cluster.deploy(careful, {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})
        response = await cluster.tell("careful", Ticked())
        assert response.status_code == 503
        assert response.json()["detail"].startswith("database")

    async def test_a_database_without_tables_says_what_to_run(
        self, cluster: Cluster, postgres_url: str
    ) -> None:
        cluster.deploy(careful, {"DATABASE_URL": postgres_url})
        response = await cluster.tell("careful", Ticked())
        assert response.status_code == 503
        assert "functions.kit.durable.migrate" in response.json()["detail"]


async def _called() -> bool:
    return bool(calls)
