"""No error's body is longer than a dispatcher survives, whatever was sent."""

from __future__ import annotations

from typing import ClassVar

import httpx
import pytest
from pydantic import BaseModel, ConfigDict

from functions.events.base import Event, Request
from functions.kit import wire
from functions.kit.context import Context
from functions.kit.function import function
from functions.kit.web import new_app
from tests.cluster import MOST_ERROR_BYTES, Cluster, message_of

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
    assert response.json()["detail"]
    assert len(response.content) <= MOST_ERROR_BYTES


@pytest.mark.parametrize("letter", ODD, ids=IDS)
async def test_a_long_name_of_a_field_is_shortened_as_it_is_sent(
    cluster: Cluster, letter: str
) -> None:
    cluster.deploy(speller)
    async with cluster.client("speller") as client:
        fits(await client.post("/", json={letter * 600: 1}), 422)


async def test_a_type_with_half_a_surrogate_pair_is_still_refused_in_words(
    cluster: Cluster,
) -> None:
    cluster.deploy(speller)
    document = '{"specversion":"1.0","id":"1","source":"/x","type":"\\ud800"}'
    async with cluster.client("speller") as client:
        headers = {"Content-Type": wire.STRUCTURED}
        fits(await client.post("/", content=document, headers=headers), 400)


async def test_a_long_path_is_shortened_as_it_is_sent(cluster: Cluster) -> None:
    cluster.deploy(speller)
    async with cluster.client("speller") as client:
        fits(await client.get("/" + "€" * 500), 404)


async def test_a_long_type_is_shortened(cluster: Cluster) -> None:
    cluster.deploy(speller)
    message = wire.Message("1", "/x", "t" * 5000, message_of(WordAsked()).data)
    fits(await cluster.tell("speller", message), 400)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    number: int


@pytest.mark.parametrize("letter", ODD, ids=IDS)
@pytest.mark.parametrize("many", [1, 40], ids=["one", "forty"])
async def test_an_api_tells_as_many_problems_as_fit(letter: str, many: int) -> None:
    app = new_app("strict")

    @app.post("/")
    async def take(given: Strict) -> None: ...

    body = {f"{letter * 600}{n}": letter * 900 for n in range(many)}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://strict"
    ) as client:
        answer = await client.post("/", json=body)

    fits(answer, 422)
    first = answer.json()["detail"][0]
    assert set(first) == {"type", "loc", "msg", "input"}
    assert first["loc"] == ["body", "number"]
