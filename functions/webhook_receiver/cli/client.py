"""Signed requests to the receiver, for the command line: one class, synchronous."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import stamina

from functions.webhook_receiver.senders import standard_webhooks

ENDED = ("succeeded", "recorded", "failed", "cancelled")
WAIT_S = 10  # of one question for more of a log
PAUSE_S = 1.0
UNREACHABLE_S = 60.0


class Refused(Exception):
    """The receiver, or job-launcher behind it, refused; the text is its own message."""


class Unreachable(Exception):
    """No answer came, or only errors that pass."""


@dataclass(frozen=True)
class LogPage:
    """A piece of a log, the Job's state at that moment, and why it says nothing, if it does not."""

    data: bytes
    state: str
    why: str


class Client:
    """Talks to one receiver. A command is repeated under the same id, so it happens once."""

    def __init__(self, url: str, secret: str, http: httpx.Client) -> None:
        self._url = url.rstrip("/")
        self._key = standard_webhooks.key(secret)
        self._http = http

    def command(self, name: str, *args: str, id: str | None = None, **options: Any) -> Any:
        """Send a command; returns the answer's JSON."""
        return self._ask(name, args, options, id).json()

    def log(self, job: str, *, follow: bool, tail: int | None) -> Iterator[LogPage]:
        """A Job's log, page by page; with `follow` until the Job has ended.

        Each page is a request of its own: whatever on the way ends what takes long, a gateway's
        timeout or a connection that breaks, costs one question more and no line.
        """
        place, wait_s, reached = "", 0, None
        while True:
            asked = {"after": place or None, "tail": None if place else tail}
            waits = {"follow": True, "wait": wait_s} if follow else {}
            try:
                answer = self._ask("get_job_logs", (job,), {**asked, **waits}, None)
            except Unreachable:
                if reached is None or time.monotonic() - reached > UNREACHABLE_S:
                    raise
                wait_s = 0  # a proxy on the way does not wait so long
                continue
            place = answer.headers.get("x-log-next", "")
            state = answer.headers.get("x-job-state", "")
            more = answer.headers.get("x-log-more") == "true"
            over = not more and (not follow or state in ("", *ENDED))
            yield LogPage(answer.content, state, answer.headers.get("x-job-reason", ""))
            if over:
                return
            if reached is None:
                wait_s = WAIT_S
            reached = time.monotonic()
            if not answer.content and not more:
                time.sleep(PAUSE_S)

    def deliveries(self, query: Mapping[str, str]) -> Any:
        target = "/deliveries" + (f"?{urlencode(query)}" if query else "")
        return self._try("GET", target, b"", f"GET {target}".encode(), None).json()

    def redeliver(self, id: str, source: str | None) -> Any:
        target = f"/deliveries/{id}/redeliver" + (f"?source={source}" if source else "")
        return self._try("POST", target, b"", f"POST {target}".encode(), None).json()

    def redeliver_all(self, query: Mapping[str, str]) -> Any:
        target = f"/deliveries/redeliver?{urlencode(query)}"
        return self._try("POST", target, b"", f"POST {target}".encode(), None).json()

    def _ask(
        self, name: str, args: tuple[str, ...], options: Mapping[str, Any], id: str | None
    ) -> httpx.Response:
        body = self._body(name, args, options)
        return self._try("POST", "/webhook/cli", body, body, id)

    def _try(
        self, method: str, target: str, body: bytes, signed: bytes, id: str | None
    ) -> httpx.Response:
        id = id or f"msg_{uuid4().hex}"
        for attempt in stamina.retry_context(on=Unreachable, attempts=4, wait_max=2.0):
            with attempt:
                return self._once(method, target, body, self._signed(signed, id))
        raise AssertionError("unreachable: stamina raises the last error")

    def _once(
        self, method: str, target: str, body: bytes, headers: Mapping[str, str]
    ) -> httpx.Response:
        try:
            response = self._http.request(
                method, f"{self._url}{target}", content=body, headers=headers
            )
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._url}: {type(error).__name__} {error}".rstrip()) from error
        _check(response)
        return response

    def _signed(self, body: bytes, id: str | None) -> dict[str, str]:
        id = id or f"msg_{uuid4().hex}"
        return standard_webhooks.headers(self._key, id, int(time.time()), body)

    @staticmethod
    def _body(name: str, args: tuple[str, ...], options: Mapping[str, Any]) -> bytes:
        given = {key: value for key, value in options.items() if value is not None}
        return json.dumps({"command": name, "args": list(args), "options": given}).encode()


def _check(response: httpx.Response) -> None:
    if response.is_success:
        return
    try:
        detail = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = response.reason_phrase or "no words"
    text = f"{response.status_code}: {detail}"
    raise (Unreachable if response.status_code >= 500 else Refused)(text)
