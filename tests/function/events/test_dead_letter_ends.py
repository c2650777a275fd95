"""dead-letter: an event is sent again edited, dismissed, deleted or expires, each on record."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.dead_letter.main import dead_letter
from functions.dead_letter.retention import retention
from functions.kit.durable.retention import forget
from tests.function.events.test_dead_letter import FAILED, get, keep, post
from tests.support import eventually
from tests.support.cluster import Cluster

WHY = {"reason": "the sprint was closed by hand"}


@pytest.fixture
def dead_letters(cluster: Cluster, functions_database: str) -> Cluster:
    cluster.deploy(dead_letter, {"DATABASE_URL": functions_database})
    return cluster


async def control_characters(cluster: Cluster) -> None:
    """An event whose content type no header can hold: only the JSON format carries it."""
    event = {
        "specversion": "1.0",
        "id": "e-crlf",
        "source": "/people/mallory",
        "type": FAILED.type,
        "datacontenttype": "text/plain\r\nX-Injected: yes",
        "data_base64": "aGk=",
        "knativeerrordest": "http://scrum-report.dsm.svc.cluster.local/",
    }
    async with cluster.client("dead-letter") as client:
        headers = {"content-type": "application/cloudevents+json"}
        response = await client.post("/", content=json.dumps(event), headers=headers)
    assert response.status_code == 202, response.text


class TestDismiss:
    async def test_a_dismissed_dead_letter_is_not_open_and_says_why(
        self, dead_letters: Cluster
    ) -> None:
        await keep(dead_letters, FAILED)
        status, answer = await post(
            dead_letters, "/dead-letters/1/dismiss", WHY, **{"X-User": "ann"}
        )
        assert (status, answer["outcome"]) == (200, "dismissed")
        one = await get(dead_letters, "/dead-letters/1")
        assert one["state"] == "dismissed"
        [entry] = one["audit"]
        assert (entry["who"], entry["action"], entry["reason"]) == (
            "ann",
            "dismissed",
            WHY["reason"],
        )
        assert dead_letters.sink.messages == []

    @pytest.mark.parametrize("body", [{}, {"reason": " "}, {"reason": "x" * 1001}, {"why": "x"}])
    async def test_a_reason_is_asked_for(self, dead_letters: Cluster, body: Any) -> None:
        await keep(dead_letters, FAILED)
        status, answer = await post(dead_letters, "/dead-letters/1/dismiss", body)
        assert status == 422
        assert "reason" in answer["detail"]
        assert (await get(dead_letters, "/dead-letters/1"))["state"] == "open"

    async def test_what_fails_anew_after_it_is_open_again(self, dead_letters: Cluster) -> None:
        await keep(dead_letters, FAILED)
        await post(dead_letters, "/dead-letters/1/dismiss", WHY)
        later = {**FAILED.extensions, "knativearrivaltime": "2025-08-30T00:00:00Z"}
        await keep(dead_letters, replace(FAILED, extensions=later))
        assert (await get(dead_letters, "/dead-letters/1"))["state"] == "open"

    async def test_a_dismissed_dead_letter_is_not_sent(self, dead_letters: Cluster) -> None:
        await keep(dead_letters, FAILED)
        await post(dead_letters, "/dead-letters/1/dismiss", WHY)
        assert (await post(dead_letters, "/dead-letters/1/redrive"))[0] == 409
        assert (await post(dead_letters, "/dead-letters/1/dismiss", WHY))[0] == 409

    async def test_a_filter_is_dismissed_and_no_more(self, dead_letters: Cluster) -> None:
        for number in range(3):
            await keep(dead_letters, replace(FAILED, id=f"e-{number}"))
        await keep(dead_letters, replace(FAILED, id="other", type="io.dsm.other.v1"))
        _, answer = await post(dead_letters, "/dismiss", {"type": FAILED.type, **WHY})
        assert [row["outcome"] for row in answer["dismissed"]] == ["dismissed"] * 3
        assert answer["left"] == 0
        assert (await get(dead_letters, "/dead-letters?state=open"))["total"] == 1
        status, answer = await post(dead_letters, "/dismiss", WHY)
        assert (status, "give type, function, state, since or until" in answer["detail"]) == (
            422,
            True,
        )


class TestEdit:
    async def test_an_edited_event_is_another_one_caused_by_the_first(
        self, dead_letters: Cluster
    ) -> None:
        await keep(dead_letters, FAILED)
        edit = {"data": {"sprint_id": "GEM-001-S02"}, "attributes": {"subject": "GEM-001-S02"}}
        status, answer = await post(dead_letters, "/dead-letters/1/redrive", edit)
        assert status == 202
        [sent] = dead_letters.sink.messages
        assert json.loads(sent.data) == edit["data"]
        assert (sent.type, sent.source, sent.subject) == (
            FAILED.type,
            FAILED.source,
            "GEM-001-S02",
        )
        assert sent.id == answer["id"] != FAILED.id
        assert sent.extensions == {
            "partitionkey": "GEM-001-S01",
            "correlationid": "c-1",
            "causationid": FAILED.id,
            "redriveof": "1",
        }
        one = await get(dead_letters, "/dead-letters/1")
        assert (one["state"], one["redrives"][0]["edited"]) == ("redriven", True)
        assert one["event"]["id"] == FAILED.id  # what failed stays on record as it was

    async def test_the_same_edit_has_the_same_id(self, dead_letters: Cluster) -> None:
        await keep(dead_letters, FAILED)
        first = (await post(dead_letters, "/dead-letters/1/redrive", {"data": 1}))[1]["id"]
        later = {**FAILED.extensions, "knativearrivaltime": "2025-08-30T00:00:00Z"}
        await keep(dead_letters, replace(FAILED, extensions=later))
        assert (await post(dead_letters, "/dead-letters/1/redrive", {"data": 1}))[1]["id"] == first

    async def test_text_stays_text(self, dead_letters: Cluster) -> None:
        await keep(dead_letters, replace(FAILED, datacontenttype="text/plain", data=b"hi"))
        await post(dead_letters, "/dead-letters/1/redrive", {"data": "ho"})
        assert dead_letters.sink.messages[0].data == b"ho"

    @pytest.mark.parametrize(
        ("edit", "field"),
        [
            ({"attributes": {"id": "x"}}, "id"),
            ({"attributes": {"source": "x"}}, "source"),
            ({"attributes": {"Upper": "x"}}, "Upper"),
            ({"attributes": {"datacontenttype": "a\r\nb"}}, "datacontenttype"),
            ({"attributes": {"type": ""}}, "type"),
            ({"attributes": {"subject": 1}}, "subject"),
            ({"dta": 1}, "dta"),
        ],
    )
    async def test_a_bad_edit_is_refused_by_name(
        self, dead_letters: Cluster, edit: Any, field: str
    ) -> None:
        await keep(dead_letters, FAILED)
        status, answer = await post(dead_letters, "/dead-letters/1/redrive", edit)
        assert status == 422
        assert field in answer["detail"]
        assert (await get(dead_letters, "/dead-letters/1"))["state"] == "open"
        assert dead_letters.sink.messages == []


class TestOneOfMany:
    async def test_they_are_chosen_by_when_they_last_failed(
        self, cluster: Cluster, functions_database: str
    ) -> None:
        now = datetime(2026, 3, 2, 13, tzinfo=UTC)
        cluster.deploy(dead_letter, {"DATABASE_URL": functions_database}, now=lambda: now)
        await keep(cluster, replace(FAILED, id="early"))
        now += timedelta(hours=2)
        await keep(cluster, replace(FAILED, id="late"))
        late = {"since": "2026-03-02T14:00", "until": "2026-03-02T16:00Z"}
        query = "&".join(f"{name}={value}" for name, value in late.items())
        found = await get(cluster, f"/dead-letters?{query}")
        assert [row["number"] for row in found["dead_letters"]] == [2]
        assert found["total"] == 1
        assert (await get(cluster, "/dead-letters?until=2026-03-02T14:00"))["total"] == 1
        await get(cluster, "/dead-letters?since=yesterday", 422)
        _, answer = await post(cluster, "/redrive", late)
        assert [row["dead_letter"] for row in answer["redriven"]] == [2]

    async def test_one_that_the_broker_refuses_ends_no_bulk_redrive(
        self, dead_letters: Cluster
    ) -> None:
        for number in range(3):
            await keep(dead_letters, replace(FAILED, id=f"e-{number}"))
        dead_letters.sink.statuses = [400]
        status, answer = await post(dead_letters, "/redrive", {"state": "open"})
        assert (status, len(answer["redriven"])) == (202, 3)

        async def all_ended() -> bool:
            return bool((await get(dead_letters, "/dead-letters?state=redriven"))["total"] == 3)

        assert await eventually(all_ended)
        [row] = (await get(dead_letters, "/dead-letters?state=open"))["dead_letters"]
        assert row["code"] == 400, "the broker's own"

    async def test_a_content_type_that_no_header_can_hold_ends_none_either(
        self, dead_letters: Cluster
    ) -> None:
        await keep(dead_letters, replace(FAILED, id="before"))
        await control_characters(dead_letters)
        status, answer = await post(dead_letters, "/redrive", {"state": "open"})
        assert status == 202
        assert {row["dead_letter"] for row in answer["redriven"]} == {1, 2}
        assert (await get(dead_letters, "/dead-letters?state=redriving"))["total"] == 0
        assert not any("\n" in (sent.datacontenttype or "") for sent in dead_letters.sink.messages)


class TestLimits:
    async def test_of_large_data_the_beginning_is_kept(
        self, cluster: Cluster, functions_database: str
    ) -> None:
        cluster.deploy(
            dead_letter, {"DATABASE_URL": functions_database, "DEAD_LETTER_DATA_BYTES": "10"}
        )
        await keep(cluster, FAILED)
        one = await get(cluster, "/dead-letters/1")
        assert one["size"] == len(FAILED.data)
        status, answer = await post(cluster, "/dead-letters/1/redrive")
        assert (status, "only the beginning" in answer["detail"]) == (409, True)
        assert (await post(cluster, "/dead-letters/1/redrive", {"data": {}}))[0] == 202

    async def test_a_list_carries_no_event(self, dead_letters: Cluster) -> None:
        await keep(dead_letters, FAILED)
        [row] = (await get(dead_letters, "/dead-letters"))["dead_letters"]
        assert not row.keys() & {"data", "attributes", "event"}

    async def test_old_dead_letters_expire_and_that_is_on_record(
        self, cluster: Cluster, functions_database: str
    ) -> None:
        now = datetime(2026, 3, 2, 15, tzinfo=UTC)
        environ = {"DATABASE_URL": functions_database, "DEAD_LETTER_RETENTION_DAYS": "30"}
        cluster.deploy(dead_letter, environ, now=lambda: now)
        await keep(cluster, FAILED)
        await post(cluster, "/dead-letters/1/redrive")
        await keep(cluster, replace(FAILED, id="open"))
        await get(cluster, "/dead-letters")  # notes that the first one was sent
        ctx = cluster.deploy(dead_letter, environ)
        await keep(cluster, replace(FAILED, id="young"))

        await forget(ctx.store, "dead_letter", rules=retention(ctx))

        assert (await get(cluster, "/dead-letters"))["total"] == 1
        rows = (await get(cluster, "/audit"))["audit"]
        found = {(row["dead_letter"], row["action"], row["id"]) for row in rows}
        assert found == {(1, "expired", FAILED.id), (2, "expired", "open")}
        assert {row["reason"] for row in rows} == {"kept for 30 days"}
        by_users = (await get(cluster, "/actions"))["actions"]
        assert [row["action"] for row in by_users] == ["sent again"]

    async def test_each_action_is_recorded_once_with_its_reason(
        self, dead_letters: Cluster
    ) -> None:
        for id in ("1", "2", "3"):
            await keep(dead_letters, replace(FAILED, id=id))
        ann = {"X-User": "ann"}
        edit = {"data": {"right": True}, "reason": "wrong field"}
        await post(dead_letters, "/dead-letters/1/redrive", {"reason": "fixed"}, **ann)
        await post(dead_letters, "/dead-letters/2/redrive", edit, **ann)
        await post(dead_letters, "/dead-letters/3/dismiss", WHY, **ann)
        rows = (await get(dead_letters, "/actions"))["actions"]
        assert [(row["who"], row["action"], row["subject"], row["reason"]) for row in rows] == [
            ("ann", "dismissed", "dead letter 3", WHY["reason"]),
            ("ann", "sent again, edited", "dead letter 2", "wrong field"),
            ("ann", "sent again", "dead letter 1", "fixed"),
        ]
        [sent] = (await get(dead_letters, "/dead-letters/1"))["redrives"]
        assert (sent["who"], sent["reason"]) == ("ann", "fixed")

    async def test_a_deleted_dead_letter_leaves_its_audit_and_no_payload(
        self, dead_letters: Cluster
    ) -> None:
        await keep(dead_letters, FAILED)
        await post(dead_letters, "/dead-letters/1/redrive", **{"X-User": "ann"})
        body = {"reason": "personal data"}
        status, _ = await post(dead_letters, "/dead-letters/1/delete", body, **{"X-User": "ann"})
        assert status == 200
        await get(dead_letters, "/dead-letters/1", 404)
        [row] = (await get(dead_letters, "/audit"))["audit"]
        assert (row["who"], row["action"], row["reason"]) == ("ann", "deleted", "personal data")
        assert (row["source"], row["id"], row["type"]) == (FAILED.source, FAILED.id, FAILED.type)
        assert (await post(dead_letters, "/dead-letters/1/delete", body))[0] == 404
