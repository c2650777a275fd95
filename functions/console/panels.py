"""A page is made of panels. Each asks for itself and fails by itself.

A page's frame is there at once. It waits a moment for its panels; one that is not there yet is
shown as loading and asks for itself again. So a service that is away takes its own panel with it
and nothing else; that panel names it and asks again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import urlencode

from markupsafe import Markup

from functions.console.ask import Ask
from functions.kit.errors import FunctionError, NotFound, TemporaryError

logger = logging.getLogger(__name__)

State = Literal["ready", "loading", "away", "missing", "unavailable", "error"]
Query = Mapping[str, str]
Load = Callable[[Ask, Query], Awaitable[Mapping[str, Any]]]

# The text of a time that the page keeps true.
AGE = re.compile(r"(?<= data-ago>)[^<]*")
# A panel that lacks an answer asks again so often; a function may have to start from zero.
RETRY_S = 4


class NotHere(Exception):
    """This cannot be had in this installation; the text says why and what would bring it."""


@dataclass(frozen=True)
class Panel:
    """`name` is also its template's; `live_s` asks again so often while the page is open.

    A `folded` one shows its title and the `summary` of its data, and opens to the rest. `shows`
    says whether the page has this panel at all, by its query.
    """

    name: str
    title: str
    load: Load
    live_s: int | None = None
    note: str = ""
    shows: Callable[[Ask, Query], bool] | None = None
    folded: bool = False


@dataclass(frozen=True)
class Shown:
    """A panel as its template gets it."""

    panel: Panel
    state: State
    url: str
    data: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    html: Markup = field(default_factory=Markup)

    @property
    def away(self) -> Mapping[str, str]:
        """The services that a panel had to do without, each with the reason."""
        found: Mapping[str, str] = self.data.get("away") or {}
        return found

    @property
    def refresh_s(self) -> int | None:
        """When to ask again, seconds; None where the panel stays as it is, as what has ended."""
        if self.state == "away" or self.away:
            return min(self.panel.live_s or RETRY_S, RETRY_S)
        if self.state == "ready" and not self.data.get("ended", False):
            return self.panel.live_s
        return None

    @property
    def digest(self) -> str:
        """What a panel shows, shortened: one that shows the same need not be sent again.

        How long ago something was does not count: the page itself keeps that true.
        """
        html = AGE.sub("", self.html)
        text = f"{self.state} {self.refresh_s} {self.message} {self.away} {html}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def csv(self) -> str:
        """Where its tables are as CSV; empty where it has none."""
        at, _, query = self.url.partition("?")
        if "<table" not in self.html:
            return ""
        return f"{at}.csv?{query}" if query else f"{at}.csv"

    @property
    def template(self) -> str:
        return f"panels/{self.panel.name}.html"


Draw = Callable[[Shown, Query], Markup]


async def show(
    panels: Sequence[Panel], ask: Ask, query: Query, base: str, timeout_s: float, draw: Draw
) -> AsyncGenerator[Shown, None]:
    """Panels in their order, loaded at once; what is not there in time is shown as loading."""
    until = time.monotonic() + timeout_s
    tasks = [asyncio.create_task(_load(panel, ask, query, base, draw)) for panel in panels]
    try:
        for panel, task in zip(panels, tasks, strict=True):
            await asyncio.wait([task], timeout=max(0.0, until - time.monotonic()))
            if task.done():
                yield task.result()
            else:
                yield Shown(panel, "loading", url_of(panel, base, query))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def show_one(panel: Panel, ask: Ask, query: Query, base: str, draw: Draw) -> Shown:
    """Load one panel; each of its sources has until the deadline of a source."""
    limited = ask.limited(ask.settings.console_source_timeout_s)
    return await _load(panel, limited, query, base, draw)


def url_of(panel: Panel, base: str, query: Query) -> str:
    asked = f"?{urlencode(query)}" if query else ""
    return f"{base.rstrip('/')}/panels/{panel.name}{asked}"


async def _load(panel: Panel, ask: Ask, query: Query, base: str, draw: Draw) -> Shown:
    url = url_of(panel, base, query)
    try:
        ready = Shown(panel, "ready", url, await panel.load(ask, query))
        return replace(ready, html=draw(ready, query))
    except NotHere as error:
        return Shown(panel, "unavailable", url, message=str(error))
    except TemporaryError as error:
        return Shown(panel, "away", url, message=error.detail)
    except NotFound as error:
        return Shown(panel, "missing", url, message=error.detail)
    except FunctionError as error:
        return Shown(panel, "error", url, message=error.detail)
    except Exception as error:
        # A peer of another version may say things in another shape, which may come out as late as
        # in the template: that is its panel's trouble and no other's.
        logger.error("panel %s", panel.name, exc_info=error)
        message = f"An answer could not be understood ({type(error).__name__})."
        return Shown(panel, "error", url, message=message)
