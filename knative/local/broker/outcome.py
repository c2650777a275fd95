"""What an answer means for a delivery: decided here as frozen data, acted on elsewhere."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from knative.local.broker.event import Event, NotAnEventError, UnreadableError, decode
from knative.local.broker.http import Answer, header

RETRIED_STATUSES = frozenset({404, 408, 409, 429, *range(500, 600)})
# The stock dispatcher encodes an error body into a buffer of 1024 characters.
ERROR_BODY_MAX = 768


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """The `knativeerror*` attributes of a dead letter."""

    dest: str
    code: int
    data: str  # base64; empty when there was no body

    def attributes(self) -> dict[str, str]:
        found = {"knativeerrordest": self.dest, "knativeerrorcode": str(self.code)}
        if self.data:
            found["knativeerrordata"] = self.data
        return found


@dataclass(frozen=True, slots=True)
class Accepted:
    """The subscriber is done; `reply` is the event it answered with."""

    reply: Event | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The call failed. `info` is None where Knative adds no error attributes."""

    reason: str
    retry: bool
    info: ErrorInfo | None = None
    oversized: int = 0  # bytes of an error body that would crash the stock dispatcher


def judge_subscriber(url: str, answer: Answer | OSError) -> Accepted | Refused:
    """What a subscriber's answer, or the lack of one, means."""
    if not isinstance(answer, Answer) or not 200 <= answer.status < 300:
        return _refusal(url, answer)
    try:
        return Accepted(decode(answer.headers, answer.body))
    except NotAnEventError:
        if not answer.body:
            return Accepted()
        kind = (header(answer.headers, b"content-type") or b"no content type").decode("latin-1")
        return Refused(f"{answer.status} with a body that is no CloudEvent ({kind})", retry=True)
    except UnreadableError as error:
        return Refused(f"{answer.status} with an unreadable CloudEvent: {error}", retry=True)


def judge_sink(url: str, answer: Answer | OSError) -> Accepted | Refused:
    """What a dead letter sink's answer means; a body of its is of no interest."""
    if isinstance(answer, Answer) and 200 <= answer.status < 300:
        return Accepted()
    return _refusal(url, answer)


def refused_reply(ingress_url: str, reason: str) -> Refused:
    """The broker itself refuses a reply as 400: no retry, and the dead letter names the broker."""
    return Refused(f"reply refused: {reason}", retry=False, info=ErrorInfo(ingress_url, 400, ""))


def _refusal(url: str, answer: Answer | OSError) -> Refused:
    if isinstance(answer, TimeoutError):
        return Refused(f"timeout: {answer}" if str(answer) else "timeout", retry=True)
    if isinstance(answer, OSError):
        reason = f"connection failed: {answer}"
        return Refused(reason, retry=True, info=_info(url, 500, _dispatch_error(url, answer)))
    if answer.status == 304:
        return Refused("status 304", retry=False)  # Knative adds no error attributes to this one
    size = len(answer.body)
    return Refused(
        f"status {answer.status}",
        retry=answer.status in RETRIED_STATUSES,
        info=_info(url, answer.status, answer.body[:ERROR_BODY_MAX]),
        oversized=size if size > ERROR_BODY_MAX else 0,
    )


def _info(url: str, code: int, body: bytes) -> ErrorInfo:
    return ErrorInfo(url, code, base64.b64encode(body).decode())


def _dispatch_error(url: str, error: OSError) -> bytes:
    return f'dispatch error: Post "{url}": {error}'.encode()[:ERROR_BODY_MAX]
