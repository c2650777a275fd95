"""A request's query is read in one way, and each parameter that does not fit is named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import quote

import pytest
from starlette.requests import Request

from functions.kit.contract import Query, user_of
from functions.kit.errors import PermanentError


def query(text: str) -> Query:
    return Query(Request({"type": "http", "query_string": text.encode(), "headers": []}))


def test_a_page_begins_at_its_cursor_and_has_a_default_length() -> None:
    assert (query("").limit(), query("").cursor()) == (50, None)
    assert (query("limit=7").limit(), query("cursor=7").cursor()) == (7, 7)


def test_an_old_name_of_cursor_is_read_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert query("before=7").cursor("before") == 7
    assert "'before' is deprecated: use 'cursor'" in caplog.text


def test_the_new_name_of_cursor_counts_where_both_are_given() -> None:
    assert query("before=7&cursor=8").cursor("before") == 8


def test_an_empty_parameter_is_none() -> None:
    empty = query("state=&limit=&cursor=&at=&flag=")
    assert (empty.text("state"), empty.cursor(), empty.instant("at")) == (None, None, None)
    assert (empty.limit(), empty.flag("flag")) == (50, False)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-03-02T08:00:00Z", datetime(2026, 3, 2, 8, tzinfo=UTC)),
        ("2026-03-02T08:00:00", datetime(2026, 3, 2, 8, tzinfo=UTC)),
        (
            "2026-03-02T08:00:00+01:00",
            datetime(2026, 3, 2, 8, tzinfo=timezone(timedelta(hours=1))),
        ),
    ],
)
def test_an_instant_is_utc_unless_it_says_otherwise(text: str, at: datetime) -> None:
    assert query(f"at={quote(text)}").instant("at") == at


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("x=0", lambda q: q.number("x", 5, 1, 9)),
        (f"x={'9' * 5000}", lambda q: q.number("x", 5, 1, 9)),
        ("x=٣", lambda q: q.number("x", 5, 1, 9)),
        ("x=yes", lambda q: q.flag("x")),
        ("x=d", lambda q: q.choice("x", ("a", "b"))),
        ("x=noon", lambda q: q.instant("x")),
        ("x=0001-01-01T00:00:00%2B09:00", lambda q: q.instant("x")),
        ("x=1&x=2&x=3", lambda q: q.texts("x", 2)),
        ("x=1", lambda q: q.refuse_others("y")),
        ("old=-1", lambda q: q.cursor("old")),
    ],
)
def test_what_does_not_fit_is_refused_by_name(text: str, read: Callable[[Query], object]) -> None:
    with pytest.raises(PermanentError) as refused:
        read(query(text))
    assert refused.value.detail.startswith(f"{text.partition('=')[0]}: ")


def test_a_user_is_as_the_header_names_it_or_none() -> None:
    assert user_of({"x-user": "Jos%C3%A9"}) == "José"
    assert user_of({"x-user": "x" * 300}) == "x" * 199 + "…"
    assert user_of({}) is None
