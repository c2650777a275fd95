"""The body of a request, up to a limit: a client must not fill a process's memory or its time."""

from __future__ import annotations

import asyncio

from pydantic import Field
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions.kit.context import Context, Resources
from functions.kit.contract.problem import refusal
from functions.kit.errors import PermanentError
from functions.kit.settings import Settings

# So many of the largest bodies at once: as Python's objects a body is up to 25 times its size.
_LARGEST_AT_ONCE = 8


class TooLarge(PermanentError):
    """The body is over the limit. `setting`: the one that is the limit, where there is one."""

    status = 413

    def __init__(self, scope: Scope, max_bytes: int, setting: str = "") -> None:
        claimed = _claimed(scope)
        size = f"{claimed} bytes" if claimed.isdigit() and len(claimed) < 16 else "more"
        fix = f"send less, or set {setting}" if setting else "send less"
        super().__init__(f"body: has {size}, the maximum is {max_bytes} bytes: {fix}")


class TooSlow(PermanentError):
    """The body did not come in time."""

    status = 408


class CutShort(PermanentError):
    """The connection ended before the body did."""

    status = 400


class ApiSettings(Settings):
    """What an HTTP API takes from a client."""

    max_body_bytes: int = Field(
        1024 * 1024, ge=1024, description="largest body of a request to an API, bytes"
    )
    body_timeout_s: float = Field(
        20, gt=0, description="how long the body of a request to an API may take to arrive, seconds"
    )


async def read(
    request: Request, max_bytes: int, timeout_s: float | None = None, *, setting: str = ""
) -> bytes:
    """The body; `TooLarge` as soon as it has more than `max_bytes`, without keeping them, and
    `TooSlow` where it takes longer than `timeout_s`. `setting` says `max_bytes`."""
    if declares_more(request.scope, max_bytes):
        raise TooLarge(request.scope, max_bytes, setting)
    chunks, size, is_complete = [], 0, False
    try:
        async with asyncio.timeout(timeout_s):
            while not is_complete:
                chunk, is_complete = await next_chunk(request)
                size += len(chunk)
                if size > max_bytes:
                    raise TooLarge(request.scope, max_bytes, setting)
                chunks.append(chunk)
    except TimeoutError:
        raise TooSlow(f"the body took over {timeout_s:g} s") from None
    return b"".join(chunks)


async def next_chunk(request: Request) -> tuple[bytes, bool]:
    """More of a body, and whether that was all; `CutShort` where the connection has ended."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise CutShort("the connection ended before the body did")
    return message.get("body", b""), not message.get("more_body", False)


class _Held:
    """The bytes of all bodies that a process holds."""

    def __init__(self, resources: Resources) -> None:
        self.max_size = resources.settings(ApiSettings).max_body_bytes * _LARGEST_AT_ONCE
        self.size = 0


class BodyLimit:
    """Middleware of an API: a body is small, arrives in time, and finds room; or it is refused.

    To the application the connection has ended, and what it answers is not sent.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ctx: Context = scope["context"]
        max_bytes = ctx.settings(ApiSettings).max_body_bytes
        if declares_more(scope, max_bytes):
            await _too_large(scope, max_bytes)(scope, receive, send)
            return
        body = _Arriving(ctx, scope, receive)
        answered = False

        async def answer(message: Message) -> None:
            nonlocal answered
            if body.refusal is None:
                await send(message)
            elif not answered:
                answered = True
                await body.refusal(scope, receive, send)

        try:
            await self._app(scope, body.receive, answer)
        except ClientDisconnect:
            if body.refusal is not None and not answered:
                await body.refusal(scope, receive, send)
        finally:
            body.forget()


class _Arriving:
    """One body on its way. `refusal` is the answer where the rest of it is not wanted."""

    def __init__(self, ctx: Context, scope: Scope, receive: Receive) -> None:
        self._scope = scope
        self._settings = ctx.settings(ApiSettings)
        self._held = ctx.part(_Held)
        self._receive = receive
        self._until = asyncio.get_running_loop().time() + self._settings.body_timeout_s
        self._size = 0
        self._complete = False
        self.refusal: Response | None = None

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()  # the end of the connection
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            return self._refuse(408, f"the body took over {self._settings.body_timeout_s:g} s")
        size = len(message.get("body", b""))
        self._size += size
        self._held.size += size
        self._complete = not message.get("more_body", False)
        if self._size > self._settings.max_body_bytes:
            self.refusal = _too_large(self._scope, self._settings.max_body_bytes)
            return {"type": "http.disconnect"}
        if self._held.size > self._held.max_size:
            return self._refuse(503, "too many large bodies at once", {"Retry-After": "1"})
        return message

    def forget(self) -> None:
        self._held.size -= self._size

    def _refuse(self, status: int, detail: str, headers: dict[str, str] | None = None) -> Message:
        self.refusal = refusal(status, detail, headers)
        return {"type": "http.disconnect"}


def _too_large(scope: Scope, max_bytes: int) -> Response:
    error = TooLarge(scope, max_bytes, "MAX_BODY_BYTES")
    return refusal(error.status, error.detail)


def _claimed(scope: Scope) -> str:
    """What the header says of the body's size."""
    found: bytes = dict(scope["headers"]).get(b"content-length", b"")
    return found.decode("latin-1")


def declares_more(scope: Scope, max_bytes: int) -> bool:
    """Is the body longer than `max_bytes` by its header?"""
    claimed = _claimed(scope)
    return claimed.isdigit() and (len(claimed) > 15 or int(claimed) > max_bytes)
