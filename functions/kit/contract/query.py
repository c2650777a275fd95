"""What a request asks for and who asks: its query, one page of a list, its user.

Each list takes `limit` and `cursor`, and answers with `next`: the cursor of the following page,
null at the end. A cursor is opaque to clients.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from functions.kit.errors import PermanentError, shortened

logger = logging.getLogger(__name__)

R = TypeVar("R")

MAX_CURSOR = 2**63 - 1


class Paging(BaseModel):
    """The same for an API with typed parameters. An unknown one is refused."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    limit: int = Field(50, ge=1, le=500, description="at most so many")
    cursor: int = Field(0, ge=0, le=MAX_CURSOR, description="`next` of the page before")


class Query:
    """The parameters of one request. One that is empty is none.

    Each that does not fit raises `error`, whose text begins with the parameter's name.
    """

    def __init__(self, request: Request, error: type[PermanentError] = PermanentError) -> None:
        self._given = request.query_params
        self._error = error

    def refuse_others(self, *names: str) -> None:
        """Refuse parameters but these: a misspelt filter must not mean "all"."""
        if unknown := sorted(set(self._given) - set(names)):
            raise self._error(f"{', '.join(unknown)}: no such filter")

    def text(self, name: str) -> str | None:
        return self._given.get(name) or None

    def texts(self, name: str, max_count: int) -> list[str] | None:
        """All values of a parameter that may be given several times."""
        found = self._given.getlist(name)
        if len(found) > max_count:
            raise self._error(f"{name}: at most {max_count} at once")
        return found or None

    def choice(self, name: str, known: Iterable[str]) -> str | None:
        found, choices = self.text(name), list(known)
        if found is not None and found not in choices:
            raise self._error(f"{name}: must be one of {', '.join(choices)}")
        return found

    def number(self, name: str, default: int, min_: int, max_: int) -> int:
        found = self.text(name)
        return default if found is None else number(found, name, min_, max_, self._error)

    def flag(self, name: str) -> bool:
        return self.choice(name, ("true", "false")) == "true"

    def instant(self, name: str) -> datetime | None:
        """An instant in RFC 3339; without an offset it is UTC."""
        found = self.text(name)
        if found is None:
            return None
        try:
            at = datetime.fromisoformat(found)
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            example = "2026-03-02T08:00:00Z"
            raise self._error(f"{name}: must be an instant such as {example}") from None

    def limit(self, default: int = 50, max_: int = 500) -> int:
        return self.number("limit", default, 1, max_)

    def cursor(self, old_name: str = "") -> int | None:
        """Where a page begins. `old_name` is read for one release."""
        name = "cursor"
        if self.text(name) is None and self.text(old_name) is not None:
            logger.warning("query parameter %r is deprecated: use 'cursor'", old_name)
            name = old_name
        found = self.text(name)
        return None if found is None else number(found, name, 1, MAX_CURSOR, self._error)


def page(
    rows: Sequence[R], limit: int, cursor_of: Callable[[R], object]
) -> tuple[Sequence[R], object]:
    """One page of rows, of which one more than `limit` was read, and its `next`.

    >>> page([5, 4, 3], 2, lambda row: row)
    ([5, 4], 4)
    >>> page([2, 1], 2, lambda row: row)
    ([2, 1], None)
    """
    shown = rows[:limit]
    return shown, cursor_of(shown[-1]) if len(rows) > limit else None


def number(
    text: str, name: str, min_: int, max_: int, error: type[PermanentError] = PermanentError
) -> int:
    """A number; its digits are counted, as Python refuses to read thousands of them."""
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and min_ <= int(text) <= max_):
        raise error(f"{name}: must be a number from {min_} to {max_}")
    return int(text)


def user_of(headers: Mapping[str, str]) -> str | None:
    """The user whom a request names in X-User, percent-encoded; what a token proves, where one is
    needed (`callers`), and else a claim."""
    return shortened(unquote(headers.get("x-user", "")), 200) or None
