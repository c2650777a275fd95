"""event-recorder: every event is there once, and what became of it is reported."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import shake_128
from typing import Any

import asyncpg
import httpx
import pytest

from functions.event_recorder.main import event_recorder
from functions.events.schedule import ScheduleDue
from functions.kit import cloudevents
from functions.scrum_report.main import scrum_report
from functions.sprint_report.main import sprint_report
from tests.support.cluster import Cluster, message_of
from tests.support.dsm_services import World
from tests.support.kept_events import ATTRIBUTES, DATA, PLAIN, Headers
from tests.support.repository import GOLDEN

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LONG = shake_128(b"").hexdigest(5000)  # no B-tree takes it, and nothing compresses it
SOME = cloudevents.Message(
    id="e-1",
    source="/functions/scrum-simulate",
    type="io.dsm.sprint.simulated.v1",
    data=b'{"sprint_id": "GEM-001-S01"}',
    subject="GEM-001-S01",
    datacontenttype="application/json",
    extensions={"correlationid": "c-1", "knativearrivaltime": "2026-03-02T11:59:58.123456789Z"},
)


class Clock:
    """What the recorder takes for now."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder(cluster: Cluster, functions_database: str, clock: Callable[[], datetime]) -> Cluster:
    environ = {"DATABASE_URL": functions_database, "EVENT_DATA_BYTES": "1000"}
    cluster.deploy(event_recorder, environ, now=clock)
    return cluster


async def keep(cluster: Cluster, *messages: cloudevents.Message) -> None:
    for message in messages:
        response = await cluster.tell("event-recorder", message)
        assert (response.status_code, response.content) == (202, b""), response.text


async def hand_over(cluster: Cluster, headers: Headers, body: bytes = b"{}") -> httpx.Response:
    async with cluster.client("event-recorder") as client:
        raw = [(name.encode(), value) for name, value in headers.items()]
        return await client.post("/", headers=raw, content=body)


async def answer(cluster: Cluster, query: str = "", status: int = 200) -> Any:
    async with cluster.client("event-recorder") as client:
        response = await client.get(f"/events/search{query}")
    assert response.status_code == status, response.text
    return response.json()


async def search(cluster: Cluster, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await answer(cluster, query))["events"]
    return found


async def ids(cluster: Cluster, query: str = "") -> list[str]:
    return [event["attributes"]["id"] for event in await search(cluster, query)]


def golden(kind: str) -> cloudevents.Message:
    return cloudevents.from_json(json.loads((GOLDEN / f"{kind}.json").read_text()))


class TestKeeping:
    async def test_an_event_is_reported_as_it_came(self, recorder: Cluster) -> None:
        await keep(recorder, SOME)
        [event] = await search(recorder)
        assert event["attributes"] == {"specversion": "1.0", **cloudevents.attributes(SOME)}
        assert event["data"] == {"sprint_id": "GEM-001-S01"}
        assert (event["size"], event["cut"]) == (len(SOME.data), False)
        assert event["arrived"] == pytest.approx(NOON.timestamp() - 1.876544)

    async def test_an_event_that_comes_twice_is_there_once(self, recorder: Cluster) -> None:
        await keep(recorder, SOME, replace(SOME, extensions={"redriveof": "7"}))
        [event] = await search(recorder)
        assert "redriveof" not in event["attributes"]

    async def test_one_that_comes_often_at_once_is_there_once(self, recorder: Cluster) -> None:
        await asyncio.gather(*(keep(recorder, SOME) for _ in range(8)))
        assert await ids(recorder) == ["e-1"]

    async def test_an_id_is_one_event_of_each_source(self, recorder: Cluster) -> None:
        await keep(recorder, SOME, replace(SOME, source="/elsewhere"))
        assert await ids(recorder) == ["e-1", "e-1"]

    async def test_an_event_without_a_stamp_arrives_when_it_is_heard(
        self, recorder: Cluster
    ) -> None:
        await keep(recorder, replace(SOME, extensions={}))
        [event] = await search(recorder)
        assert event["arrived"] == NOON.timestamp()

    @pytest.mark.parametrize(
        ("data", "received"),
        [
            (b"x" * 1001, {"data": "x" * 1000}),
            ("é".encode() * 501, {"data": "é" * 500}),
            (b"x" + "é".encode() * 500, {"data": "x" + "é" * 499}),
            (b"\xff" * 1001, {"data_base64": "//" * 666 + "/w=="}),
        ],
        ids=["text", "between letters", "within a letter", "bytes"],
    )
    async def test_big_data_is_cut_and_marked_so(
        self, recorder: Cluster, data: bytes, received: dict[str, str]
    ) -> None:
        await keep(recorder, replace(SOME, data=data))
        [event] = await search(recorder)
        assert (event["size"], event["cut"]) == (len(data), True)
        assert {name: event[name] for name in event if name.startswith("data")} == received

    @pytest.mark.parametrize(
        "odd",
        [
            replace(SOME, id="no\x00zero", subject="\x00", data=b"\x00"),
            replace(SOME, data=b"", datacontenttype=None, subject=None),
            replace(SOME, id=LONG, subject=LONG, type=LONG, extensions={"correlationid": LONG}),
            replace(SOME, subject="Zürich 100 %"),
            replace(SOME, data=b'{"half": "\\ud800"}'),
            replace(SOME, data=b"[1e999, NaN]"),
            replace(SOME, data=b"[" * 900),
            replace(SOME, extensions={"knativearrivaltime": "0001-01-01T00:00:00+14:00"}),
            replace(SOME, type="dev.knative.sources.ping", extensions={}),
        ],
        ids=[
            "nul",
            "empty",
            "long",
            "umlaut",
            "surrogate",
            "nan",
            "deep",
            "early",
            "nameless",
        ],
    )
    async def test_no_event_is_too_odd_to_keep(
        self, recorder: Cluster, odd: cloudevents.Message
    ) -> None:
        await keep(recorder, odd, odd)
        [event] = await search(recorder)
        assert event["attributes"] == {"specversion": "1.0", **cloudevents.attributes(odd)}
        assert json.dumps(event, ensure_ascii=False, allow_nan=False).encode(), "anybody reads it"

    @pytest.mark.parametrize(
        ("given", "shown"), [pytest.param(*rest, id=name) for name, *rest in ATTRIBUTES]
    )
    async def test_attributes_are_kept_as_they_came(
        self, recorder: Cluster, given: Headers, shown: dict[str, str]
    ) -> None:
        assert (await hand_over(recorder, PLAIN | given)).status_code == 202
        [event] = await search(recorder)
        assert shown.items() <= event["attributes"].items()

    @pytest.mark.parametrize(
        ("data", "shown"), [pytest.param(*rest, id=name) for name, *rest in DATA]
    )
    async def test_data_that_json_cannot_say_hides_no_other_event(
        self, recorder: Cluster, data: bytes, shown: dict[str, object]
    ) -> None:
        assert (await hand_over(recorder, PLAIN, data)).status_code == 202
        await keep(recorder, SOME)
        _, event = await search(recorder)
        kept = {k: v[:1000] if isinstance(v, str) else v for k, v in shown.items()}
        assert {name: event[name] for name in event if name.startswith("data")} == kept

    async def test_a_database_that_is_away_is_no_reason_to_lose_an_event(
        self, cluster: Cluster
    ) -> None:
        cluster.deploy(event_recorder, {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})
        assert (await cluster.tell("event-recorder", SOME)).status_code == 503


class TestSearch:
    @pytest.fixture
    async def five(self, recorder: Cluster) -> Cluster:
        """e-1 of the day's chain c-1, which began with event c-1, and three of other chains."""
        began = replace(SOME, id="c-1", type=ScheduleDue.type, subject=None, extensions={})
        others = [
            replace(SOME, id=f"o-{n}", type=f"io.dsm.other.v{n}", extensions={}) for n in range(3)
        ]
        await keep(recorder, began, SOME, *others)
        return recorder

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("", ["o-2", "o-1", "o-0", "e-1", "c-1"]),
            ("?type=io.dsm.other", ["o-2", "o-1", "o-0"]),
            ("?type=simulated", ["e-1"]),
            ("?type=io_dsm", []),
            ("?type=other&subject=GEM-001-S01&limit=2", ["o-2", "o-1"]),
            ("?subject=GEM-001", []),
            ("?correlation=c-1", ["e-1", "c-1"]),
            ("?correlation=e-1", ["e-1"]),
            ("?type=&cursor=", ["o-2", "o-1", "o-0", "e-1", "c-1"]),
            ("?subject=%27%3B%20DROP%20TABLE%20event", []),
        ],
    )
    async def test_filters_join(self, five: Cluster, query: str, found: list[str]) -> None:
        assert await ids(five, query) == found

    async def test_pages_go_back_in_time_and_miss_nothing(self, five: Cluster) -> None:
        seen, page = list[str](), await answer(five, "?limit=2")
        while page["next"] is not None:
            seen += [event["attributes"]["id"] for event in page["events"]]
            page = await answer(five, f"?limit=2&cursor={page['next']}")
        seen += [event["attributes"]["id"] for event in page["events"]]
        assert seen == ["o-2", "o-1", "o-0", "e-1", "c-1"]

    @pytest.mark.parametrize(
        "query",
        ["limit=0", "limit=501", "limit=x", "cursor=-1", "cursor=x", f"cursor={2**63}", "typ=x"],
    )
    async def test_a_bad_query_is_refused_by_name(self, five: Cluster, query: str) -> None:
        refused = await answer(five, f"?{query}", 422)
        assert refused["detail"].startswith(f"{query.partition('=')[0]}: ")


class TestWhatBecameOfIt:
    async def test_the_runs_of_a_function_are_the_attempts_of_its_delivery(
        self, recorder: Cluster, world: World, functions_database: str
    ) -> None:
        recorder.deploy(scrum_report, {"DATABASE_URL": functions_database})
        message = golden("io.dsm.sprint.simulated.v1")
        await keep(recorder, message, replace(SOME, id="another"))
        recorder.down.add("sprint-service")
        assert (await recorder.tell("scrum-report", message)).status_code == 503
        recorder.down.clear()
        sprint = world.sprint("ORI002", 1, 50)
        sprint.id = message.json()["sprint_id"]
        assert (await recorder.tell("scrum-report", message)).status_code == 202

        another, event = await search(recorder)
        assert another["deliveries"] == []
        [delivery] = event["deliveries"]
        assert (delivery["trigger"], delivery["state"]) == ("scrum-report", "handled")
        failed, ok = delivery["attempts"]
        assert (failed["outcome"], ok["outcome"], ok["detail"]) == ("failed", "ok", None)
        assert "sprint-service" in failed["detail"]
        assert failed["ended_at"] < ok["ended_at"]
        assert ok["took_ms"] > 0
        assert await ids(recorder, "?trigger=report") == [message.id]
        assert await ids(recorder, "?trigger=dead-letter") == []

    async def test_a_tick_is_found_although_its_run_is_named_by_the_minute(
        self, recorder: Cluster, world: World, functions_database: str
    ) -> None:
        recorder.deploy(sprint_report, {"DATABASE_URL": functions_database})
        tick = message_of(ScheduleDue(schedule="sprint-report", time=NOON))
        await keep(recorder, tick)
        await recorder.tell("sprint-report", tick)
        [event] = await search(recorder, "?trigger=sprint-report")
        assert [d["state"] for d in event["deliveries"]] == ["handled"]

    async def test_one_that_failed_for_good_says_so(
        self, recorder: Cluster, functions_database: str
    ) -> None:
        recorder.deploy(scrum_report, {"DATABASE_URL": functions_database})
        message = golden("io.dsm.sprint.simulated.v1")
        await keep(recorder, message)
        await recorder.tell("scrum-report", message)
        [event] = await search(recorder)
        assert [d["state"] for d in event["deliveries"]] == ["failed"]


async def recorded(database: str, id: str, *, days_ago: int) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute(
        "UPDATE event SET recorded_at = now() - make_interval(days => $2) WHERE id = $1",
        *(id, days_ago),
    )
    await connection.close()


class TestForgetting:
    async def tick(self, recorder: Cluster, schedule: str = "event-recorder") -> None:
        due = ScheduleDue(schedule=schedule, time=NOON)
        await keep(recorder, message_of(due, source="/apis/ping"))

    async def test_what_is_old_is_forgotten_at_the_tick(
        self, recorder: Cluster, functions_database: str
    ) -> None:
        await keep(recorder, SOME, replace(SOME, id="younger"))
        await recorded(functions_database, "e-1", days_ago=13)
        await recorded(functions_database, "younger", days_ago=0)
        await self.tick(recorder)
        assert await ids(recorder, "?type=simulated") == ["younger", "e-1"]
        await recorded(functions_database, "e-1", days_ago=15)
        await self.tick(recorder, "another-schedule")
        assert await ids(recorder, "?type=simulated") == ["younger", "e-1"]
        await self.tick(recorder)
        assert await ids(recorder, "?type=simulated") == ["younger"]
        async with recorder.client("event-recorder") as client:
            runs = (await client.get("/runs")).json()["runs"]
        assert [(run["outcome"], run["id"][:14]) for run in runs] == [("ok", "event-recorder")] * 2

    @pytest.mark.parametrize("at", [NOON + timedelta(days=2), NOON - timedelta(days=2000)])
    async def test_a_tick_of_another_time_is_an_event_like_any_other(
        self, recorder: Cluster, at: datetime
    ) -> None:
        tick = message_of(ScheduleDue(schedule="event-recorder", time=at))
        await keep(recorder, tick)
        assert await ids(recorder) == [tick.id]
        async with recorder.client("event-recorder") as client:
            assert (await client.get("/runs")).json()["runs"] == []
