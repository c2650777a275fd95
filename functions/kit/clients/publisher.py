"""Sending events to the sink. A sink that is down is a `TemporaryError`: the caller comes again.

Where Knative authenticates producers (`authentication-oidc`), a SinkBinding mounts a token for the
sink; with `transport-encryption` it names, in K_CA_CERTS, the authority of the sink's certificate.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from functions.kit import cloudevents
from functions.kit.errors import PermanentError, TemporaryError, shortened
from functions.kit.settings import BadSetting, ProcessSettings

if TYPE_CHECKING:
    import ssl

# What any other status complains of can be put right: 401 may be a token that has just expired,
# 403 a policy that is missing. The event is as good as before.
_ABOUT_THE_EVENT = (400, 413, 422)
# Of a refusal's text; in base64 it is what the dispatcher of Knative keeps of one.
MAX_CAUSE_BYTES = 768


def trust(settings: ProcessSettings) -> ssl.SSLContext | None:
    """What a client of the sink verifies against: as usual, and K_CA_CERTS besides; None where
    there is nothing besides."""
    if not settings.k_ca_certs:
        return None
    import ssl

    import httpx

    context = httpx.create_ssl_context()
    try:
        context.load_verify_locations(cadata=settings.k_ca_certs)
    except ssl.SSLError as error:
        raise BadSetting(f"setting K_CA_CERTS: {error}") from None
    return context


# An in-memory channel answers when all deliveries of an event have ended, or after this time.
SINK_TIMEOUT_S = 900.0
# Of a process; fewer keep sagas waiting, more bring nothing.
MAX_AT_ONCE = 128


class Post(Protocol):
    """The way to a sink."""

    async def __call__(
        self, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> tuple[int, bytes]:
        """POST, and return status and body of the answer; `TemporaryError` where there is none."""

    async def close(self) -> None:
        """Close the connections."""


class Refused(PermanentError):
    """The sink will never take this event; `cause` is the beginning of what it answered."""

    def __init__(self, type_: str, status: int, body: bytes) -> None:
        self.answered = status
        self.cause = body[:MAX_CAUSE_BYTES].decode(errors="replace")
        super().__init__(shortened(f"sink refused {type_} with {status} {self.cause}".rstrip()))


class Publisher:
    """Posts events to K_SINK, many at a time."""

    def __init__(self, settings: ProcessSettings, post: Post) -> None:
        self._settings = settings
        self._post = post
        self._token = Path(settings.oidc_token_file)
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)

    async def publish(self, messages: Sequence[cloudevents.Message]) -> None:
        """Send all; raise the first failure once all have ended."""
        if messages and not self._settings.k_sink:
            raise TemporaryError("setting K_SINK is missing: events have nowhere to go")
        outcomes = await asyncio.gather(*map(self._send, messages), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def dead_letter(self, message: cloudevents.Message, status: int, cause: str = "") -> None:
        """Send an event that the sink refused with `status` to the dead letter sink.

        Its extensions say so, and the `cause`, as a Broker's do of an event that a subscriber
        refused.
        """
        failure = {"knativeerrordest": self._settings.k_sink, "knativeerrorcode": str(status)}
        if cause:
            data = b64encode(cause.encode()[:MAX_CAUSE_BYTES])
            failure["knativeerrordata"] = data.decode()
        verbatim = None if message.verbatim is None else {**message.verbatim, **failure}
        dead = replace(message, extensions={**message.extensions, **failure}, verbatim=verbatim)
        answered, _ = await self._answer(self._settings.dead_letter_url, dead)
        if not 200 <= answered < 300:
            raise TemporaryError(
                f"the sink refused it with {status}, and the dead letter sink answered {answered}"
            )

    async def _send(self, message: cloudevents.Message) -> None:
        answered, body = await self._answer(self._settings.k_sink, message, self._authorization())
        if 200 <= answered < 300:
            return
        if answered in _ABOUT_THE_EVENT:
            raise Refused(message.type, answered, body)
        raise TemporaryError(f"sink answered {answered} to {message.type}")

    async def _answer(
        self, url: str, message: cloudevents.Message, authorization: Sequence[tuple[str, str]] = ()
    ) -> tuple[int, bytes]:
        headers, body = cloudevents.encode(message)
        async with self._turns:
            return await self._post(url, [*headers, *authorization], body)

    def _authorization(self) -> list[tuple[str, str]]:
        """Read at each send, as tokens are replaced before they run out."""
        try:
            token = self._token.read_text().strip()
        except OSError:
            return []  # the sink needs none
        return [("authorization", f"Bearer {token}")] if token else []
