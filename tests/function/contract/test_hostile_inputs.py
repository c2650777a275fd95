"""Ten inputs times what others send instead: each is taken rightly, or refused by a problem that
names the field. Nothing of a refused one is kept, and the next good one is taken as ever.

The fronts are real processes on a real PostgreSQL. Slow senders, half a body, HEAD and OPTIONS of
the same ten: test_slow_senders.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import httpx
import pytest

from functions.kit.contract.problem import MAX_BYTES
from tests.support.front_inputs import COUNTED, FRONTS, INPUTS, Input, Sent
from tests.support.hostile import places, spoilt

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SETTINGS: dict[str, str] = {}
LIMIT = 1024 * 1024
RAW = "@@raw@@"  # where what no `json.dumps` writes goes

Path = tuple[Any, ...]


@dataclass(frozen=True)
class Change:
    """Makes a body of a good document; `path` is the field that is wrong, if it is one."""

    body: Callable[[Any], bytes]
    path: Path = ()


Kind = Callable[[Any], Iterator[Change]]


def dumped(document: Any, raw: str = "null") -> bytes:
    return json.dumps(document).replace(json.dumps(RAW), raw).encode()


def at(path: Path, value: Any, raw: str = "null") -> Change:
    return Change(lambda document: dumped(spoilt(document, path, value), raw), path)


def at_each_place(*values: Any) -> Kind:
    return lambda document: (at(path, value) for path in places(document) for value in values)


def written_at_each_place(*texts: str) -> Kind:
    return lambda document: (at(path, RAW, text) for path in places(document) for text in texts)


def whole(*bodies: bytes) -> Kind:
    return lambda _: (Change(lambda _, body=body: body) for body in bodies)  # type: ignore[misc]


def both(*kinds: Kind) -> Kind:
    return lambda document: (change for kind in kinds for change in kind(document))


OTHERS: tuple[Any, ...] = (7, 1.5, True, "text", ["x"], {"x": "y"}, [None], [[]])


def other_types(document: Any) -> Iterator[Change]:
    for path in places(document):
        given: Any = document
        for part in path:
            given = given[part]
        for value in OTHERS:
            if type(value) is not type(given):
                yield at(path, value)


def twice(document: Any) -> Iterator[Change]:
    """A name that stands twice in one object: one of both counts, or it is refused."""
    for path in places(document):
        if isinstance(path[-1], str):
            name = json.dumps(path[-1]).encode()

            def body(document: Any, name: bytes = name) -> bytes:
                return dumped(document).replace(name + b":", name + b": null, " + name + b":", 1)

            yield Change(body, path)


def nested(levels: int) -> tuple[str, str]:
    return "[" * levels + "]" * levels, '{"a":' * levels + "1" + "}" * levels


TEXTS = (
    "Ü漢🎉ع \u0301",
    "\u202egnirts\u2066",
    "\ufeff\u200b",
    "x\u2028y\u2029",
    "'; DROP TABLE x;--",
)
CONTROLS = ("a\x00b", "\x1b[2J", "a\r\nX-Injected: 1", "\x7f\x80\x9f", "\x0b\x0c\t")
KINDS: dict[str, Kind] = {
    "null": both(at_each_place(None), whole(b"null")),
    "missing": at_each_place(...),
    "empty": both(at_each_place("", " ", [], {}), whole(b"", b" ", b"{}", b"[]", b'""')),
    "wrong type": both(other_types, whole(b"7", b'"text"', b"true", b"[1]", b'[{"a": 1}]')),
    "huge": both(
        at_each_place("x" * 300, "x" * 70_000, "漢" * 20_000, ["x"] * 10_000, 2**63, -(2**63) - 1),
        written_at_each_place("1" + "0" * 400, "1" + "0" * 5000, "1e999", "-1e-999"),
        whole(
            b" " * (LIMIT + 1), b'{"a": "' + b"x" * LIMIT + b'"}', b"[" + b"1," * 400_000 + b"1]"
        ),
    ),
    "deep": both(
        written_at_each_place(*nested(101), *nested(2_000), *nested(100_000)),
        whole(*(part.encode() for part in (*nested(2_000), *nested(100_000)))),
        whole(b"[" * 100_000, b'{"a":' * 100_000),
    ),
    "other alphabets": at_each_place(*TEXTS),
    "control characters": both(
        at_each_place(*CONTROLS),
        written_at_each_place('"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', "NaN", "-Infinity"),
        whole(b"\x00", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b'{"a": "\xc3"}', b'{"a": "\n"}'),
    ),
    "duplicate names": twice,
}


@pytest.fixture(scope="module")
async def clients(fronts: dict[str, str]) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    made = {
        name: httpx.AsyncClient(base_url=url, trust_env=False, timeout=60)
        for name, url in fronts.items()
    }
    yield made
    for client in made.values():
        await client.aclose()


@pytest.fixture(scope="module")
async def tables(stores: dict[str, str]) -> AsyncIterator[dict[str, asyncpg.Connection]]:
    made = {name: await asyncpg.connect(stores[name]) for name in FRONTS}
    yield made
    for connection in made.values():
        await connection.close()


@dataclass(frozen=True)
class Front:
    """One input, its front, and what that has kept."""

    kind: Input
    client: httpx.AsyncClient
    db: asyncpg.Connection

    async def send(self, sent: Sent) -> httpx.Response:
        return await self.client.post(sent.path, headers=sent.headers, content=sent.body)

    async def kept(self, *besides: str) -> tuple[int, ...]:
        """How many rows there are in each table."""
        tables = [table for table in COUNTED[self.kind.front] if table not in besides]
        counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)
        return tuple(await self.db.fetchrow(f"SELECT {counts}") or ())

    async def takes_a_good_one(self) -> None:
        before = await self.kept()
        answer = await self.send(await self.kind.new(self.client))
        assert answer.is_success, answer.text
        assert await self.kept() != before


@pytest.fixture(params=INPUTS)
def front(
    request: pytest.FixtureRequest,
    clients: dict[str, httpx.AsyncClient],
    tables: dict[str, asyncpg.Connection],
) -> Front:
    kind = INPUTS[request.param]
    return Front(kind, clients[kind.front], tables[kind.front])


UNREAD = ("nested", "recursion", "digits", "column", "send json", "bytes")


def wrong_with(answer: httpx.Response, path: Path) -> str:
    """What is wrong with an answer; empty where nothing is."""
    if answer.is_success:
        return ""
    if answer.status_code >= 500 or answer.status_code in (401, 403, 404, 405):
        return f"status {answer.status_code}"
    if len(answer.content) > MAX_BYTES:
        return f"{len(answer.content)} bytes"
    if answer.headers["content-type"] not in ("application/problem+json", "application/json"):
        return answer.headers["content-type"]
    if not answer.json()["detail"]:
        return "no detail"
    names = [part.lower() for part in path if isinstance(part, str)]
    text = answer.text.lower()
    # What cannot be read has no fields.
    unread = any(why in text for why in UNREAD)
    if names and not unread and not any(name in text for name in names):
        return f"{path} is not named"
    return ""


@pytest.mark.parametrize("name", KINDS)
async def test_it_is_taken_rightly_or_refused_and_costs_the_next_nothing(
    front: Front, name: str
) -> None:
    await front.takes_a_good_one()
    wrong = []
    for change in KINDS[name](await front.kind.document(front.client)):
        body = change.body(await front.kind.document(front.client))
        before = await front.kept("run")  # a run that failed is on record rightly
        answer = await front.send(front.kind.of(body))
        found = wrong_with(answer, change.path)
        if not answer.is_success and (after := await front.kept("run")) != before:
            found += f" kept {before} -> {after}"
        if found:
            wrong.append((change.path, body[:60], answer.text[:200], found))
    assert not wrong, f"{len(wrong)}: " + "\n".join(map(str, wrong[:40]))
    await front.takes_a_good_one()


TYPES = (
    *("", "text/plain", "application/xml", "application/octet-stream", "text/csv"),
    *(
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
    ),
    *("application/json; charset=utf-16", "application/json; charset=x", "a;b=\xe9", ";", "//"),
    *("application/cloudevents-batch+json", "application/cloudevents+xml", "x" * 10_000),
)


async def test_another_content_type_is_refused_by_its_name_or_means_the_same(front: Front) -> None:
    wrong = []
    for given in TYPES:
        sent = await front.kind.new(front.client)
        headers = [(n.encode(), v.encode()) for n, v in sent.headers if n != "content-type"]
        headers += [(b"content-type", given.encode("latin-1"))] * (given != "")
        before = await front.kept()
        answer = await front.client.post(sent.path, headers=headers, content=sent.body)
        after = await front.kept()
        found = wrong_with(answer, ())
        if answer.is_success != (after != before):
            found += f" {answer.status_code} kept {before} -> {after}"
        if not answer.is_success and not any(w in answer.text.lower() for w in ("json", "type")):
            found += " names no type"
        if found:
            wrong.append((given, answer.text[:200], found))
    assert not wrong, "\n".join(map(str, wrong))
    await front.takes_a_good_one()


def backwards(document: Any) -> Any:
    """The same, of which the members of each object stand the other way round."""
    if isinstance(document, dict):
        return {name: backwards(value) for name, value in reversed(document.items())}
    return [backwards(value) for value in document] if isinstance(document, list) else document


async def test_the_order_of_names_means_nothing(front: Front) -> None:
    document = await front.kind.document(front.client)
    before = await front.kept()
    answer = await front.send(front.kind.of(json.dumps(backwards(document)).encode()))
    assert answer.is_success, answer.text
    assert await front.kept() != before


async def test_what_was_made_first_may_come_last(front: Front) -> None:
    made = [await front.kind.new(front.client) for _ in range(4)]
    before = await front.kept()
    answers = [await front.send(sent) for sent in reversed(made)]
    assert all(answer.is_success for answer in answers), [answer.text for answer in answers]
    assert await front.kept() != before


# What has no name of its own is a new one each time, unless its sender gives a key.
KEY = {"an execution": "Idempotency-Key", "a backlog": "Idempotency-Key"}


async def test_the_same_again_and_at_once_is_done_once(front: Front) -> None:
    name = next(name for name, kind in INPUTS.items() if kind is front.kind)
    sent = await front.kind.new(front.client)
    if name in KEY:
        sent = replace(sent, headers=[*sent.headers, (KEY[name], f"key-{id(sent)}")])
    at_first = await front.kept("run")  # each time that a sweep is due it is a run
    answers = await asyncio.gather(*(front.send(sent) for _ in range(5)))
    once = await front.kept("run")
    answers += [await front.send(sent) for _ in range(2)]
    assert await front.kept("run") == once
    assert once != at_first or name == "a tick"
    assert any(answer.is_success for answer in answers)
    refused = {answer.status_code for answer in answers if not answer.is_success}
    assert refused <= ({400, 409} if name == "a project" else {503}), [a.text for a in answers]
    assert all(after - before <= 1 for before, after in zip(at_first, once, strict=True)), (
        f"{at_first} -> {once}"
    )
