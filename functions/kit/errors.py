"""The two ways in which a function fails, and the answer that each becomes.

Exception
└── FunctionError
    ├── PermanentError        422   trying again cannot help: the event goes to the dead letter
    │   ├── Unauthenticated   401   no token or signature that proves who calls
    │   ├── NotFound          404*  what was requested does not exist
    │   ├── Conflict          409*  it clashes with what exists
    │   └── BadAnswer         422   a service did it, and its answer cannot be read
    └── TemporaryError        503   trying again may help, after Retry-After
        ├── NotSent           503   a service was not reached, so nothing has changed
        └── Cancelled         202   the event was taken back, so it is not tried again
            └── TooLate       202   it came after the time by which it was due

* In the HTTP APIs of services. To a broker 404 and 409 mean "try again", so a function that
handles an event answers 422 for each PermanentError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel

from functions.events.base import Event

Kind = Literal["permanent", "temporary", "late", "unexpected"]


class FieldError(BaseModel):
    """A field of what was sent, by its path, and what is wrong with it."""

    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


class FunctionError(Exception):
    """Base of both. `events` are facts that are true all the same, and still leave."""

    status = 500
    kind: Kind = "unexpected"

    def __init__(self, detail: str, *, events: Sequence[Event] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.events = tuple(events)

    def add(self, message: str) -> None:
        """Add what else went wrong because of this."""
        self.detail = f"{self.detail}; {message}"
        self.args = (self.detail,)


class PermanentError(FunctionError):
    """Trying again cannot help. `fields` are those that are wrong, where that is known."""

    status = 422
    kind = "permanent"
    fields: Sequence[FieldError] = ()


class Unauthenticated(PermanentError):
    """No token or signature that proves who calls."""

    status = 401


class NotFound(PermanentError):
    """What was requested does not exist."""

    status = 404


class Conflict(PermanentError):
    """It clashes with what exists."""

    status = 409


class BadAnswer(PermanentError):
    """A service did what was requested, but its answer is not what it should be."""


class TemporaryError(FunctionError):
    """Trying again may help, after `delay_s` seconds."""

    status = 503
    kind: Kind = "temporary"

    def __init__(self, detail: str, *, delay_s: float = 1.0, events: Sequence[Event] = ()) -> None:
        super().__init__(detail, events=events)
        self.delay_s = delay_s


class NotSent(TemporaryError):
    """A request did not reach a service, so it has changed nothing."""


class Cancelled(TemporaryError):
    """The event was taken back: its run commits nothing more.

    A kind of `TemporaryError`, so that a function which collects errors ends with one that is tried
    again; the repeat is answered with 202 before it begins.
    """


class TooLate(Cancelled):
    """A tick came after the time until which its schedule's policy lets it run."""

    kind = "late"


def kind_of(error: Exception) -> Kind:
    """The kind of failure, by which runs and metrics tell errors apart."""
    return error.kind if isinstance(error, FunctionError) else "unexpected"


def shortened(text: str, limit: int = 300) -> str:
    """One line of at most `limit` characters, as a database and UTF-8 can keep it."""
    kept = text.encode(errors="backslashreplace").decode().replace("\x00", "\\x00")
    line = " ".join(kept.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
