"""One HTTP service as its client sees it: JSON out, typed JSON in, errors with its own message.

A call that is safe to repeat is tried three times. One that is not is tried again only where the
request was never sent: its caller looks what became of it (`kit.durable.checkpoints`).
Each call carries trace context and correlation (`kit.telemetry.correlation`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import NAMESPACE_URL, uuid5

import httpx
import stamina
from pydantic import TypeAdapter, ValidationError

from functions.events.base import joined
from functions.kit.clients.off_loop import off_loop
from functions.kit.clients.request import request
from functions.kit.errors import (
    BadAnswer,
    Conflict,
    NotFound,
    NotSent,
    PermanentError,
    TemporaryError,
    shortened,
)
from functions.kit.telemetry import correlation

T = TypeVar("T")

NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_TEMPORARY = (408, 425, 429)
_PERMANENT = {404: NotFound, 409: Conflict}
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Unreadable:
    """An item of a list that is not what it should be, as it came, and why."""

    given: object
    detail: str

    def field(self, name: str) -> str | None:
        """The text of one of its fields in a printable form, where it has one."""
        found = self.given.get(name) if isinstance(self.given, dict) else None
        return shortened(found, 100) if isinstance(found, str) else None


class ServiceClient:
    """`name` begins every error."""

    def __init__(self, name: str, base_url: str, http: httpx.AsyncClient) -> None:
        self.name = name
        self.base_url = base_url.rstrip("/")
        self._http = http

    async def get(self, at: str, kind: type[T], **query: str | None) -> T:
        return await self._read(at, partial(typed, self.name, kind), query)

    async def items(self, at: str, kind: type[T], **query: str | None) -> list[T | Unreadable]:
        """A list, each item by itself: one that cannot be read costs no other."""
        return await self._read(at, partial(self._each, kind), query)

    async def _read(
        self, at: str, parse: Callable[[bytes], T], query: Mapping[str, str | None]
    ) -> T:
        """What `parse` makes of an answer, beside the event loop where that is large."""
        wanted = urlencode({name: value for name, value in query.items() if value is not None})
        answer = await self._call("GET", f"{at}?{wanted}" if wanted else at)
        return await off_loop(len(answer.content), parse, answer.content)

    def _each(self, kind: type[T], answer: object) -> list[T | Unreadable]:
        return [self._item(kind, item) for item in typed(self.name, list[Any], answer)]

    def _item(self, kind: type[T], item: object) -> T | Unreadable:
        try:
            return typed(self.name, kind, item)
        except BadAnswer as error:
            return Unreadable(item, error.detail)

    async def post(
        self, at: str, kind: type[T], *, key: str, body: object = None, repeat: bool = True
    ) -> T:
        """A write under an Idempotency-Key; `repeat`: does the service know what that is?"""
        headers = {"Idempotency-Key": header_key(key)}
        return await self._write("POST", at, kind, headers, body, repeat)

    async def put(self, at: str, kind: type[T], body: object) -> T:
        """A write that is safe to repeat, as it is the whole new state."""
        return await self._write("PUT", at, kind, {}, body, True)

    async def health(self) -> str:
        """`ok`, or what is wrong with the service, asked once and for two seconds."""
        try:
            response = await self._http.get(f"{self.base_url}/health", timeout=2.0)
        except (httpx.HTTPError, BadAnswer) as error:
            return type(error).__name__
        return "ok" if response.is_success else f"answers {response.status_code}"

    async def _write(
        self,
        method: str,
        at: str,
        kind: type[T],
        headers: dict[str, str],
        body: object,
        repeat: bool,
    ) -> T:
        content = None if body is None else json.dumps(body)
        headers = {**headers, "Content-Type": "application/json"}
        answer = await self._call(method, at, repeat=repeat, content=content, headers=headers)
        return await off_loop(len(answer.content), typed, self.name, kind, answer.content)

    async def _call(
        self, method: str, at: str, *, repeat: bool = True, **options: Any
    ) -> httpx.Response:
        async for attempt in stamina.retry_context(
            on=TemporaryError if repeat else NotSent,
            attempts=3,
            wait_initial=0.1,
            wait_max=2.0,
            timeout=30.0,
        ):
            with attempt:
                return await self._once(method, at, **options)
        raise AssertionError("unreachable: stamina raises the last error")

    async def _once(
        self,
        method: str,
        at: str,
        content: str | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> httpx.Response:
        sent = {**correlation.headers(), **headers}
        try:
            made = request(method, f"{self.base_url}{at}", sent, content, self._http.timeout)
            response = await self._http.send(made)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSent(f"{self.name}: {_reason(error)}") from error
        except httpx.HTTPError as error:
            raise TemporaryError(f"{self.name}: {_reason(error)}") from error
        except BadAnswer as error:
            raise BadAnswer(f"{self.name}: {error.detail}") from error
        except httpx.InvalidURL as error:  # an id of 100,000 characters
            raise PermanentError(f"{self.name}: no address: {error}") from error
        if response.is_success:
            return response
        message = f"{self.name} answered {response.status_code}: {_detail(response)}"
        if response.status_code >= 500 or response.status_code in _TEMPORARY:
            raise TemporaryError(message, delay_s=_retry_after(response))
        raise _PERMANENT.get(response.status_code, PermanentError)(message)


def header_key(name: str) -> str:
    """The Idempotency-Key of a piece of work: the digest of its name, whatever that may hold.

    The APIs of services and of the orchestrator take the digest of any other key, so there the name
    itself means the same. A function's own `POST /`, and job-launcher's cancel and retry, take each
    key as it is: who repeats a request there sends the same one.

    >>> header_key("cycle:ÜBER-1:first")
    '35f358df340cee319c050fd09c535e859bb1eb3443aa274c812536ed08d7c05a'
    >>> header_key(header_key("x" * 256)) == header_key("x" * 256)
    True
    """
    if _DIGEST.fullmatch(name):
        return name
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()


def derived_key(*parts: str) -> str:
    """An Idempotency-Key for a call that a request causes: the same for each repeat of it.

    >>> derived_key("one", "close")
    '08b7f44d-4985-5bfa-ae8f-c273fe115f9d'
    """
    return str(uuid5(NAMESPACE_URL, joined("#", *parts)))


_adapters: dict[object, TypeAdapter[Any]] = {}


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    """Made once per kind: making one costs more than a call."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def typed(name: str, kind: type[T], answer: object) -> T:
    """What the service `name` answered, bytes of JSON or read already; or `BadAnswer`."""
    adapter = _adapter(kind)
    try:
        if isinstance(answer, bytes):
            answer = _parsed(answer)
        return adapter.validate_python(answer)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        detail = f"{where} {first['msg']}"
    except (ValueError, RecursionError) as error:
        detail = f"no valid JSON: {error}"
    raise BadAnswer(shortened(f"{name} answered what we cannot read: {detail}"))


def _parsed(body: bytes) -> object:
    """JSON whose texts a database and UTF-8 can keep: a text that they cannot costs no other.

    >>> _parsed(rb'["a\\u0000b", "\\ud800"]')
    ['a\\\\0b', '\\\\ud800']
    """
    document = json.loads(body.decode(errors="replace"))
    escapes = body.lower()
    return _kept(document) if b"\\u0000" in escapes or b"\\ud" in escapes else document


def _kept(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\x00", "\\0").encode(errors="backslashreplace").decode()
        case list():
            return [_kept(item) for item in value]
        case dict():
            return {_kept(name): _kept(item) for name, item in value.items()}
        case _:
            return value


def _reason(error: httpx.HTTPError) -> str:
    match error:
        case httpx.ConnectError():
            return str(error) or "no connection"
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return "no connection in time"
        case httpx.TimeoutException():
            return "no answer in time"
        case _:
            return f"{type(error).__name__} {error}".rstrip()


def _detail(response: httpx.Response) -> str:
    try:
        answer = response.json()
        text = answer["detail"] if isinstance(answer, dict) and "detail" in answer else answer
    except (ValueError, RecursionError):
        text = response.text
    return shortened(text if isinstance(text, str) else json.dumps(text), 200)


def _retry_after(response: httpx.Response) -> float:
    given = response.headers.get("Retry-After", "")
    return float(given) if given.isdecimal() and len(given) < 6 else 1.0
