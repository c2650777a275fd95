"""What the console asks of others: JSON over HTTP, typed as plain dictionaries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from functions.console.settings import ConsoleSettings
from functions.kit.cluster import Cluster
from functions.kit.context import Context
from functions.kit.services import ServiceClient, Services

Row = dict[str, Any]


class Peer(ServiceClient):
    """A function's or service's read routes, and its actions on behalf of a person."""

    async def read(self, at: str, **query: object) -> Any:
        """JSON; parameters that are None are left out, a list is given once for each."""
        return (await self._call("GET", at, params=_params(query))).json()

    async def text(self, at: str, **query: object) -> str:
        return (await self._call("GET", at, params=_params(query))).text

    async def act(
        self, at: str, who: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """A person's action, once: whoever pressed sees what came of it and may press again."""
        # A header has letters of Latin-1 at most; a name has any.
        sent = {
            "X-User": quote(who, safe="@ "),
            "Content-Type": "application/json",
            **(headers or {}),
        }
        content = json.dumps({} if body is None else body)
        answer = await self._once("POST", at, content=content, headers=sent)
        return answer.json() if answer.content else None


class Ask:
    """Everybody that the console may ask, within one request."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.settings = ctx.settings(ConsoleSettings)

    @property
    def services(self) -> Services:
        return self.ctx.services

    @property
    def cluster(self) -> Cluster:
        return self.ctx.cluster

    def function(self, name: str) -> Peer:
        """A function by its Service's name."""
        return Peer(name, self.settings.function_url.replace("{name}", name), self.ctx.http)

    def service(self, client: ServiceClient) -> Peer:
        """A DSM service's routes beyond those of its typed client."""
        return Peer(client.name, client.base_url, self.ctx.http)

    async def events(self, url: str, **query: object) -> list[Row]:
        """The events that fit, newest first, of whoever keeps them."""
        found: list[Row] = await Peer("record of events", url, self.ctx.http).read("", **query)
        return found

    async def runs(self, function: str, **query: object) -> list[Row]:
        """A function's record of runs, newest first."""
        answer = await self.function(function).read("/runs", **query)
        runs: list[Row] = answer["runs"]
        return runs

    async def all_runs(self, function: str, **query: object) -> list[Row]:
        """Every run that fits, page by page."""
        found: list[Row] = []
        after = None
        while True:
            answer = await self.function(function).read("/runs", **query, limit=200, after=after)
            found += answer["runs"]
            after = answer["next"]
            if after is None:
                return found

    async def runs_of(self, function: str, type_: str, ids: Sequence[str]) -> list[Row]:
        """What became of some events: the runs of those ids, newest first."""
        found: list[Row] = []
        for first in range(0, len(ids), 100):
            some = list(ids[first : first + 100])
            found += await self.all_runs(function, type=type_, id=some)
        return found


def _params(query: Mapping[str, object]) -> dict[str, str | list[str]]:
    return {
        name: [str(v) for v in value] if isinstance(value, list) else str(value)
        for name, value in query.items()
        if value is not None
    }
