"""The time zone of a reader's pages: UTC until a form sets another one, which a cookie keeps."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import ZoneInfo

from starlette.requests import Request

COOKIE = "console_zone"
YEAR_S = 365 * 24 * 3600


@lru_cache(maxsize=100)
def is_zone(name: str) -> bool:
    """Is it a name of the tz database?

    >>> is_zone("Europe/Berlin"), is_zone("Mars/Olympus"), is_zone("../etc/passwd"), is_zone("")
    (True, False, False, False)
    """
    try:
        return bool(name) and ZoneInfo(name).key == name
    except (ValueError, OSError, LookupError):
        return False


def zone_of(request: Request) -> str:
    """The zone that the reader's cookie names; UTC where it names none."""
    named = request.cookies.get(COOKIE, "")
    return named if is_zone(named) else "UTC"
