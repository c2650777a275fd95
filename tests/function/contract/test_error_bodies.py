"""No error's body is longer than a dispatcher survives, whatever was sent."""

from __future__ import annotations

from typing import ClassVar

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from functions.events.base import Event, Request
from functions.kit import cloudevents
from functions.kit.context import Context
from functions.kit.contract import api, function, new_app, new_app_with_fastapi_errors
from functions.kit.contract.framework import Target
from functions.kit.contract.http_api import accepted
from functions.kit.errors import PermanentError
from tests.support.cluster import MAX_ERROR_BYTES, Cluster, assert_problem, message_of

ODD = ['"', "\\", "\x01", "€", "\U0001f600", "a"]
IDS = ["quotes", "backslashes", "control characters", "euros", "emoji", "letters"]


class WordAsked(Request):
    type: ClassVar[str] = "test.word.asked.v1"
    word: str = ""


@function()
async def speller(event: WordAsked, ctx: Context) -> Event | None:
    return None


def fits(response: httpx.Response, status: int) -> None:
    assert response.status_code == status
    if status != 202:
        assert_problem(response)


@pytest.mark.parametrize("character", ODD, ids=IDS)
async def test_a_long_name_of_a_field_is_shortened_as_it_is_sent(
    cluster: Cluster, character: str
) -> None:
    cluster.deploy(speller)
    async with cluster.client("speller") as client:
        fits(await client.post("/", json={character * 600: 1}), 422)


async def test_a_type_with_half_a_surrogate_pair_is_still_refused_with_a_reason(
    cluster: Cluster,
) -> None:
    cluster.deploy(speller)
    document = '{"specversion":"1.0","id":"1","source":"/x","type":"\\ud800"}'
    async with cluster.client("speller") as client:
        headers = {"Content-Type": cloudevents.STRUCTURED}
        fits(await client.post("/", content=document, headers=headers), 400)


async def test_a_long_path_is_shortened_as_it_is_sent(cluster: Cluster) -> None:
    cluster.deploy(speller)
    async with cluster.client("speller") as client:
        fits(await client.get("/" + "€" * 500), 404)


async def test_a_long_type_is_shortened(cluster: Cluster) -> None:
    cluster.deploy(speller)
    message = cloudevents.Message("1", "/x", "t" * 5000, message_of(WordAsked()).data)
    fits(await cluster.tell("speller", message), 400)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    number: int


async def _posted(app: FastAPI, body: object) -> httpx.Response:
    @app.post("/")
    async def take(given: Strict) -> None: ...

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://strict") as client:
        return await client.post("/", json=body)


@pytest.mark.parametrize("character", ODD, ids=IDS)
@pytest.mark.parametrize("many", [1, 40], ids=["one", "forty"])
async def test_an_api_names_as_many_wrong_fields_as_fit(character: str, many: int) -> None:
    body = {f"{character * 600}{n}": character * 900 for n in range(many)}
    answer = await _posted(new_app("strict"), body)

    fits(answer, 422)
    first = answer.json()["errors"][0]
    assert first == {"field": "body.number", "reason": "Field required"}


@pytest.mark.parametrize("character", ODD, ids=IDS)
@pytest.mark.parametrize("many", [1, 40], ids=["one", "forty"])
async def test_errors_as_fastapi_has_them_are_as_many_as_fit(character: str, many: int) -> None:
    body = {f"{character * 600}{n}": character * 900 for n in range(many)}
    answer = await _posted(new_app_with_fastapi_errors("strict"), body)

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/json")
    assert len(answer.content) <= MAX_ERROR_BYTES
    first = answer.json()["detail"][0]
    assert set(first) == {"type", "loc", "msg", "input"}
    assert first["loc"] == ["body", "number"]


async def test_an_api_names_two_wrong_fields_and_what_is_wrong_with_each() -> None:
    answer = await _posted(new_app("strict"), {"number": "x", "more": 1})
    assert answer.json() == {
        "type": "about:blank",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "body.number: Input should be a valid integer, unable to parse string as an "
        "integer; body.more: Extra inputs are not permitted",
        "errors": [
            {
                "field": "body.number",
                "reason": "Input should be a valid integer, unable to parse string as an integer",
            },
            {"field": "body.more", "reason": "Extra inputs are not permitted"},
        ],
    }


def _api_that_raises(error: Exception) -> Target:
    async def work(message: cloudevents.Message) -> None:
        raise error

    async def receive(request: HttpRequest) -> Response:
        return await accepted(request, work)

    def build() -> FastAPI:
        app = new_app("Events")
        app.add_api_route("/events", receive, methods=["POST"])
        return app

    return api("events", build)


async def test_what_an_api_did_not_foresee_of_an_event_is_logged_with_its_traceback(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.deploy(_api_that_raises(ZeroDivisionError("by nobody foreseen")))
    headers, body = cloudevents.encode(message_of(WordAsked()))
    async with cluster.client("events") as client:
        fits(await client.post("/events", headers=headers, content=body), 500)
    assert "unexpected error" in caplog.text
    assert "ZeroDivisionError: by nobody foreseen" in caplog.text


async def test_what_an_api_refuses_of_an_event_is_no_error_of_ours(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.deploy(_api_that_raises(PermanentError("no such word")))
    headers, body = cloudevents.encode(message_of(WordAsked()))
    async with cluster.client("events") as client:
        fits(await client.post("/events", headers=headers, content=body), 422)
    assert "unexpected error" not in caplog.text


@function(inbox=True)
async def keeper(event: WordAsked, ctx: Context) -> Event | None:
    return None


@pytest.mark.parametrize("id_", ["x" * 256, "\x00"], ids=["too long", "zero"])
async def test_an_id_that_no_inbox_can_keep_is_refused(
    cluster: Cluster, functions_database: str, id_: str
) -> None:
    cluster.deploy(keeper, {"DATABASE_URL": functions_database})
    fits(await cluster.tell("keeper", message_of(WordAsked(), id=id_)), 400)
    fits(await cluster.tell("keeper", message_of(WordAsked(), id="x" * 255)), 202)
