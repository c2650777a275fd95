"""dead-letter: nothing that failed is lost, and what is sent again is reported truly."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from typing import Any

import asyncpg
import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from functions.dead_letter.main import dead_letter
from functions.kit import cloudevents
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.kept_events import ATTRIBUTES, DATA, PLAIN, Headers

FAILED = cloudevents.Message(
    id="e-1",
    source="/functions/scrum-simulate",
    type="io.dsm.sprint.simulated.v1",
    data=b'{"sprint_id": "GEM-001-S01",  "n": 1.0}',
    subject="GEM-001-S01",
    time="2025-08-29T14:00:01Z",
    datacontenttype="application/json",
    extensions={
        "partitionkey": "GEM-001-S01",
        "correlationid": "c-1",
        "knativeerrordest": "http://scrum-report.dsm.svc.cluster.local/",
        "knativeerrorcode": "503",
        "knativeerrordata": base64.b64encode(b'{"detail":"chronicle is away"}').decode(),
        "knativearrivaltime": "2025-08-29T14:00:02Z",
        "knativebrokerttl": "254",
    },
)


def again(message: cloudevents.Message, arrival: str, **changed: str) -> cloudevents.Message:
    """The same event, dead-lettered after another pass through the broker."""
    return replace(
        message, extensions={**message.extensions, "knativearrivaltime": arrival, **changed}
    )


@pytest.fixture
def dead_letters(cluster: Cluster, functions_database: str) -> Cluster:
    cluster.deploy(dead_letter, {"DATABASE_URL": functions_database})
    return cluster


async def get(cluster: Cluster, path: str, status: int = 200) -> Any:
    async with cluster.client("dead-letter") as client:
        response = await client.get(path)
    assert response.status_code == status, response.text
    return response.json()


async def post(cluster: Cluster, path: str, body: object = None, **headers: str) -> Any:
    async with cluster.client("dead-letter") as client:
        sent = {"X-User": "tests", **headers}
        response = await client.post(path, json=body, headers=sent)
    return response.status_code, response.json()


async def keep(cluster: Cluster, message: cloudevents.Message) -> None:
    response = await cluster.tell("dead-letter", message)
    assert (response.status_code, response.content) == (202, b""), response.text


async def test_a_dead_letter_holds_the_whole_event_and_what_was_answered(
    dead_letters: Cluster,
) -> None:
    await keep(dead_letters, FAILED)
    [row] = (await get(dead_letters, "/"))["dead_letters"]
    assert (row["id"], row["type"], row["function"]) == ("e-1", FAILED.type, "scrum-report")
    assert (row["code"], row["detail"]) == (503, '{"detail":"chronicle is away"}')
    assert (row["count"], row["state"], row["first_at"]) == (1, "open", row["last_at"])
    one = await get(dead_letters, f"/dead-letters/{row['number']}")
    assert one["event"] == cloudevents.to_json(FAILED)
    assert one["redrives"] == []


async def test_a_dead_letter_that_is_delivered_twice_counts_once(dead_letters: Cluster) -> None:
    await keep(dead_letters, FAILED)
    await keep(dead_letters, FAILED)
    [row] = (await get(dead_letters, "/dead-letters"))["dead_letters"]
    assert row["count"] == 1


async def test_a_failure_anew_counts_up(dead_letters: Cluster) -> None:
    await keep(dead_letters, FAILED)
    await keep(dead_letters, again(FAILED, "2025-08-30T00:00:00Z", knativeerrorcode="422"))
    [row] = (await get(dead_letters, "/dead-letters"))["dead_letters"]
    assert (row["count"], row["code"]) == (2, 422)
    assert row["first_at"] < row["last_at"]


async def test_an_event_that_fails_at_two_functions_is_two_dead_letters(
    dead_letters: Cluster,
) -> None:
    await keep(dead_letters, FAILED)
    await keep(
        dead_letters, again(FAILED, "t", knativeerrordest="http://other.dsm.svc.cluster.local")
    )
    rows = (await get(dead_letters, "/dead-letters"))["dead_letters"]
    assert [row["function"] for row in rows] == ["other", "scrum-report"]


@pytest.mark.parametrize(
    "odd",
    [
        replace(FAILED, id="no\x00zero", data=b"\x00\xff", datacontenttype="text/plain"),
        replace(FAILED, data=b"", datacontenttype=None, subject=None, time=None),
        replace(FAILED, extensions={}),
        replace(FAILED, extensions={"knativeerrordest": "http://[", "knativeerrordata": "%%%"}),
        replace(FAILED, type="com.example.who-knows", data=b"{broken"),
        replace(FAILED, extensions={"knativeerrorcode": "9" * 30}),
        replace(FAILED, subject="Zürich 100 %"),
    ],
    ids=["nul", "empty", "nothing-said", "nonsense-said", "broken-data", "huge-code", "umlaut"],
)
async def test_no_event_is_too_odd_to_keep(dead_letters: Cluster, odd: cloudevents.Message) -> None:
    await keep(dead_letters, odd)
    [row] = (await get(dead_letters, "/dead-letters"))["dead_letters"]
    await post(dead_letters, f"/dead-letters/{row['number']}/redrive")
    [sent] = dead_letters.sink.messages
    plain = {k: v for k, v in odd.extensions.items() if not k.startswith("knative")}
    assert replace(sent, extensions={}) == replace(odd, extensions={})
    assert sent.extensions == {**plain, "redriveof": str(row["number"])}


async def hand_over(cluster: Cluster, headers: Headers, body: bytes = b"{}") -> None:
    raw = [(name.encode(), value) for name, value in headers.items()]
    async with cluster.client("dead-letter") as client:
        response = await client.post("/", headers=raw, content=body)
    assert (response.status_code, response.content) == (202, b""), response.text


@pytest.mark.parametrize(
    ("given", "shown"), [pytest.param(*rest, id=name) for name, *rest in ATTRIBUTES]
)
async def test_whatever_a_broker_hands_over_is_kept_shown_and_sent_on_as_it_came(
    dead_letters: Cluster, given: Headers, shown: dict[str, str]
) -> None:
    dead_letters.add("broker-ingress", Response(status_code=202))  # as lenient as Knative's
    await hand_over(dead_letters, PLAIN | given, b'{"n": NaN}')
    [row] = (await get(dead_letters, "/dead-letters"))["dead_letters"]
    one = await get(dead_letters, f"/dead-letters/{row['number']}")
    assert shown.items() <= one["event"].items()
    await post(dead_letters, f"/dead-letters/{row['number']}/redrive")
    sent = dead_letters.requests[-1]
    expected = PLAIN | given | {"ce-redriveof": str(row["number"]).encode()}
    headers = {n.decode().lower(): v for n, v in sent.headers.raw}
    assert {n: headers.get(n) for n in expected} == expected
    assert sent.content == b'{"n": NaN}'


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data, _ in DATA])
async def test_data_that_json_cannot_hold_hides_no_dead_letter(
    dead_letters: Cluster, data: bytes
) -> None:
    await hand_over(dead_letters, PLAIN, data)
    await keep(dead_letters, FAILED)
    newest, oldest = (await get(dead_letters, "/dead-letters"))["dead_letters"]
    assert newest["id"] == FAILED.id
    event = (await get(dead_letters, f"/dead-letters/{oldest['number']}"))["event"]
    assert "data" in event or base64.b64decode(event["data_base64"]) == data


async def test_the_list_is_filtered_and_paged_newest_first(dead_letters: Cluster) -> None:
    for number in range(5):
        await keep(dead_letters, replace(FAILED, id=f"e-{number}"))
    await keep(dead_letters, replace(FAILED, id="other", type="io.dsm.other.v1"))
    page = await get(dead_letters, f"/dead-letters?type={FAILED.type}&limit=2")
    assert [row["id"] for row in page["dead_letters"]] == ["e-4", "e-3"]
    rest = await get(
        dead_letters, f"/dead-letters?type={FAILED.type}&limit=9&cursor={page['next']}"
    )
    assert [row["id"] for row in rest["dead_letters"]] == ["e-2", "e-1", "e-0"]
    assert rest["next"] is None
    assert (await get(dead_letters, "/dead-letters?function=none"))["dead_letters"] == []
    assert (
        len((await get(dead_letters, "/dead-letters?function=scrum-report"))["dead_letters"]) == 6
    )


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "state=lost", "typo=1", "cursor=-1", "before=-1"]
)
async def test_a_bad_query_is_refused_by_name(dead_letters: Cluster, query: str) -> None:
    answer = await get(dead_letters, f"/dead-letters?{query}", 422)
    assert query.split("=")[0] in answer["detail"]


@pytest.mark.parametrize("number", ["99", "x", "9" * 30])
async def test_a_dead_letter_that_does_not_exist_is_404(dead_letters: Cluster, number: str) -> None:
    await get(dead_letters, f"/dead-letters/{number}", 404)
    assert (await post(dead_letters, f"/dead-letters/{number}/redrive"))[0] == 404


async def test_a_redriven_dead_letter_is_marked_with_who_did_it(dead_letters: Cluster) -> None:
    await keep(dead_letters, FAILED)
    status, answer = await post(dead_letters, "/dead-letters/1/redrive", **{"X-User": "ann"})
    assert (status, answer) == (202, {"dead_letter": 1, "state": "redriving", "id": FAILED.id})

    [sent] = dead_letters.sink.messages
    assert (sent.id, sent.source, sent.data) == (FAILED.id, FAILED.source, FAILED.data)
    assert sent.extensions == {
        "partitionkey": "GEM-001-S01",
        "correlationid": "c-1",
        "redriveof": "1",
    }
    one = await get(dead_letters, "/dead-letters/1")
    assert one["state"] == "redriven"
    [audit] = one["redrives"]
    assert (audit["who"], audit["outcome"]) == ("ann", "sent")
    assert (await post(dead_letters, "/dead-letters/1/redrive"))[0] == 409


async def test_what_came_of_many_is_read_at_once(dead_letters: Cluster) -> None:
    await keep(dead_letters, FAILED)
    await keep(dead_letters, replace(FAILED, id="e-2", extensions={}))
    await post(dead_letters, "/dead-letters/1/redrive")
    found = await get(dead_letters, "/redrives?numbers=1,2,999")
    first, second = sorted(found["dead_letters"], key=lambda row: row["number"])
    assert (first["trace"], first["redrive"]["outcome"]) == ("c-1", "sent")
    assert (first["state"], first["about"]) == ("redriven", "GEM-001-S01")
    assert (second["trace"], second["redrive"]) == ("e-2", None)
    assert await get(dead_letters, "/redrives") == {"dead_letters": []}
    await get(dead_letters, "/redrives?numbers=1,x", 404)
    refused = await get(dead_letters, f"/redrives?numbers={','.join(['1'] * 201)}", 422)
    assert refused["detail"] == "numbers: at most 200 at once"


async def test_a_dead_letter_that_comes_back_is_open_again(dead_letters: Cluster) -> None:
    await keep(dead_letters, FAILED)
    await post(dead_letters, "/dead-letters/1/redrive")
    await keep(dead_letters, again(FAILED, "2025-08-30T00:00:00Z", redriveof="1"))
    [row] = (await get(dead_letters, "/dead-letters"))["dead_letters"]
    assert (row["number"], row["state"], row["count"]) == (1, "open", 2)


async def test_a_dead_letter_that_comes_back_without_a_word_of_who_failed_is_open_again(
    dead_letters: Cluster,
) -> None:
    await keep(dead_letters, FAILED)
    await post(dead_letters, "/dead-letters/1/redrive")
    nameless = again(FAILED, "2025-08-30T00:00:00Z", redriveof="1")
    emitted = {n: v for n, v in nameless.extensions.items() if not n.startswith("knativeerror")}
    await keep(dead_letters, replace(nameless, extensions=emitted))
    await keep(dead_letters, replace(nameless, extensions=emitted))
    [row] = (await get(dead_letters, "/dead-letters"))["dead_letters"]
    assert (row["number"], row["state"], row["count"]) == (1, "open", 2)
    assert row["function"] == "scrum-report"


@pytest.mark.parametrize("number", ["1", "77", "x", "9" * 30])
async def test_redriveof_reopens_no_dead_letter_of_another_event(
    dead_letters: Cluster, number: str
) -> None:
    await keep(dead_letters, FAILED)
    await post(dead_letters, "/dead-letters/1/redrive")
    plain = {"redriveof": number, "knativearrivaltime": "2025-08-30T00:00:00Z"}
    await keep(dead_letters, replace(FAILED, id="another", extensions=plain))
    rows = (await get(dead_letters, "/dead-letters"))["dead_letters"]
    assert [(row["id"], row["state"]) for row in rows] == [
        ("another", "open"),
        (FAILED.id, "redriven"),
    ]


async def test_a_dead_letter_that_comes_back_while_it_is_sent_stays_open(
    dead_letters: Cluster,
) -> None:
    """A broker may answer only once all is delivered, dead letters too."""

    async def broker(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        await request.body()
        headers, body = cloudevents.encode(again(FAILED, "2025-08-30T00:00:00Z"))
        async with httpx.AsyncClient(transport=dead_letters) as inside:
            await inside.post("http://dead-letter/", headers=headers, content=body)
        await Response(status_code=202)(scope, receive, send)

    await keep(dead_letters, FAILED)
    dead_letters.add("broker-ingress", broker)
    status, answer = await post(dead_letters, "/dead-letters/1/redrive")
    assert (status, answer["state"]) == (202, "redriving")
    one = await get(dead_letters, "/dead-letters/1")
    assert (one["state"], one["count"]) == ("open", 2)
    assert one["redrives"][0]["outcome"] == "returned"


async def test_a_broker_that_is_down_gets_it_when_it_is_back(dead_letters: Cluster) -> None:
    await keep(dead_letters, FAILED)
    dead_letters.down.add("broker-ingress")
    assert (await post(dead_letters, "/dead-letters/1/redrive"))[0] == 202
    one = await get(dead_letters, "/dead-letters/1")
    assert (one["state"], one["redrives"][0]["outcome"]) == ("redriving", None)
    assert (await post(dead_letters, "/dead-letters/1/redrive"))[0] == 409
    dead_letters.down.clear()

    async def sent() -> bool:
        one = await get(dead_letters, "/dead-letters/1")
        return (one["state"], one["redrives"][0]["outcome"]) == ("redriven", "sent")

    assert await eventually(sent)
    assert [m.id for m in dead_letters.sink.messages] == [FAILED.id]


async def test_what_the_broker_refuses_is_a_dead_letter_of_its_own(dead_letters: Cluster) -> None:
    await keep(dead_letters, FAILED)
    dead_letters.sink.statuses = [400]
    await post(dead_letters, "/dead-letters/1/redrive")
    rows = (await get(dead_letters, "/dead-letters"))["dead_letters"]
    assert [(row["number"], row["state"], row["code"]) for row in rows] == [
        (2, "open", 400),
        (1, "redriven", 503),
    ]
    [audit] = (await get(dead_letters, "/dead-letters/1"))["redrives"]
    assert (audit["outcome"], "400" in audit["detail"]) == ("failed", True)


async def test_no_user_sends_again_without_a_name(dead_letters: Cluster) -> None:
    await keep(dead_letters, FAILED)
    for path in (
        "/dead-letters/1/redrive",
        "/redrive",
        "/dead-letters/1/dismiss",
        "/dead-letters/1/delete",
    ):
        body = {"reason": "x"} if path.endswith(("dismiss", "delete")) else {}
        if path == "/redrive":
            body = {"state": "open"}
        status, answer = await post(dead_letters, path, body, **{"X-User": ""})
        assert (status, "X-User" in answer["detail"]) == (422, True), path
    assert dead_letters.sink.messages == []
    assert (await get(dead_letters, "/dead-letters/1"))["state"] == "open"


async def test_two_redrives_at_once_send_one(dead_letters: Cluster) -> None:
    await keep(dead_letters, FAILED)
    answers = await asyncio.gather(
        *(post(dead_letters, "/dead-letters/1/redrive") for _ in range(4))
    )
    assert sorted(status for status, _ in answers) == [202, 409, 409, 409]
    assert len(dead_letters.sink.messages) == 1


async def test_an_odd_event_is_sent_as_it_stood_by_another_process_too(
    dead_letters: Cluster, functions_database: str
) -> None:
    odd = {"ce-id": "odd", "ce-type": "t", "ce-source": "https://example.com/a%20b c"}
    odd |= {"ce-specversion": "1.0", "ce-subject": "%ff%fe", "content-type": "application/json"}
    async with dead_letters.client("dead-letter") as client:
        assert (await client.post("/", content=b"[1e999,", headers=odd)).status_code == 202
    dead_letters.down.add("broker-ingress")
    await post(dead_letters, "/dead-letters/1/redrive")
    dead_letters.down.clear()
    resources = dead_letters.deploy(dead_letter, {"DATABASE_URL": functions_database}).resources
    connection = await asyncpg.connect(functions_database)
    await connection.execute("UPDATE outbox_event SET leased_until = NULL")
    await connection.close()
    heard: list[httpx.Headers] = []

    async def broker(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        heard.append(httpx.Headers(request.headers.raw))
        assert await request.body() == b"[1e999,"
        await Response(status_code=202)(scope, receive, send)

    dead_letters.add("broker-ingress", broker)
    await resources.durable.relay.sweep()

    async def sent() -> list[httpx.Headers]:
        return heard  # by this process, or by the first, which tries again

    (first, *_) = await eventually(sent)
    assert {name: first[name] for name in odd} == odd


async def test_a_filter_is_redriven_and_no_more(dead_letters: Cluster) -> None:
    for number in range(3):
        await keep(dead_letters, replace(FAILED, id=f"e-{number}"))
    await keep(dead_letters, replace(FAILED, id="other", type="io.dsm.other.v1"))
    status, answer = await post(dead_letters, "/redrive", {"type": FAILED.type})
    assert status == 202
    assert [row["outcome"] for row in answer["redriven"]] == ["redriving"] * 3
    assert answer["left"] == 0

    async def all_sent() -> bool:
        return [m.id for m in dead_letters.sink.messages] == ["e-0", "e-1", "e-2"]

    assert await eventually(all_sent)
    status, answer = await post(dead_letters, "/redrive", {})
    assert (status, "give type, function, state, since or until" in answer["detail"]) == (422, True)
    _, answer = await post(dead_letters, "/redrive", {"state": "open"})
    assert [row["dead_letter"] for row in answer["redriven"]] == [4]


async def test_a_misspelt_filter_redrives_nothing(dead_letters: Cluster) -> None:
    await keep(dead_letters, FAILED)
    status, answer = await post(dead_letters, "/redrive", {"typ": "x"})
    assert status == 422
    assert "typ" in answer["detail"]
    assert dead_letters.sink.messages == []


async def test_plain_json_is_no_dead_letter(dead_letters: Cluster) -> None:
    status, answer = await post(dead_letters, "/", {"a": 1})
    assert status == 400
    assert "CloudEvents only" in answer["detail"]


async def test_a_dead_letter_that_no_header_can_hold_is_refused_and_holds_up_no_other(
    dead_letters: Cluster,
) -> None:
    document = cloudevents.to_json(replace(FAILED, id="crlf")) | {
        "datacontenttype": "text/x\r\nEvil: 1"
    }
    async with dead_letters.client("dead-letter") as client:
        headers = {"content-type": cloudevents.STRUCTURED}
        kept = await client.post("/", content=json.dumps(document), headers=headers)
    assert kept.is_success, kept.text
    await keep(dead_letters, FAILED)

    status, answer = await post(dead_letters, "/redrive", {"state": "open"})

    assert status == 202
    outcomes = {row["dead_letter"]: row["outcome"] for row in answer["redriven"]}
    assert sorted(outcomes.values()) == ["failed", "redriving"]
    assert [sent.id for sent in dead_letters.sink.messages] == [FAILED.id]
    rows = (await get(dead_letters, "/dead-letters"))["dead_letters"]
    assert {row["id"]: row["state"] for row in rows} == {"crlf": "open", FAILED.id: "redriven"}


async def test_the_old_paths_lead_to_the_new_ones(dead_letters: Cluster) -> None:
    await keep(dead_letters, FAILED)
    async with dead_letters.client("dead-letter") as client:
        listed = await client.get("/letters?state=open&limit=1")
        sent = await client.post("/letters/1/redrive")
    assert (listed.status_code, sent.status_code) == (308, 308)
    assert listed.headers["location"] == "/dead-letters?state=open&limit=1"
    assert sent.headers["location"] == "/dead-letters/1/redrive"
