"""What the console asks of others: JSON over HTTP, typed as plain dictionaries."""

from __future__ import annotations

import asyncio
import copy
import json
import math
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import httpx
import yaml

from functions.console.reads import Reads
from functions.console.settings import ConsoleSettings
from functions.dsm_client import Services, dsm
from functions.kit.clients import Object, ServiceClient, typed
from functions.kit.clients.kubernetes import ClusterSettings
from functions.kit.clients.off_loop import off_loop
from functions.kit.context import Context

T = TypeVar("T")
Row = dict[str, Any]


class Peer(ServiceClient):
    """A function's or service's read routes, and its actions on behalf of a user."""

    def __init__(
        self, name: str, base_url: str, ask: Ask, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(name, base_url, ask.ctx.http)
        self._ask = ask
        self._headers = headers or {}

    async def read(self, at: str, **query: object) -> Any:
        """JSON; parameters that are None are left out, a list is given once for each.

        `BadAnswer` where it is none.
        """
        return await self._json(await self._get(at, query))

    async def text(self, at: str, **query: object) -> str:
        text: str = (await self._get(at, query)).text
        return text

    async def _get(self, at: str, query: Mapping[str, object]) -> Any:
        params = urlencode(_params(query), doseq=True)
        target = f"{at}?{params}" if params else at
        key = (self.base_url, target)
        return await self._ask.within(
            self.name, key, lambda: self._call("GET", target, headers=self._headers)
        )

    async def act(
        self, at: str, who: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """A user's action, sent once: the user sees the outcome and may send it again."""
        # A header has characters of Latin-1 at most; a name has any.
        sent = {
            "X-User": quote(who, safe="@ "),
            "Content-Type": "application/json",
            **(headers or {}),
        }
        content = json.dumps({} if body is None else body)
        try:
            answer = await self._once("POST", at, content=content, headers=sent)
        finally:
            self._ask.forget()
        return await self._json(answer) if answer.content else None

    async def _json(self, answer: httpx.Response) -> Any:
        return await off_loop(len(answer.content), typed, self.name, object, answer.content)


class Ask:
    """All that the console may ask, within one request; each read has its deadline.

    What several parts of a page need is read once, until the request itself changes something.
    """

    def __init__(self, ctx: Context, timeout_s: float = math.inf) -> None:
        self.ctx = ctx
        self._answers: dict[Hashable, Any] = {}
        self._shared: dict[Hashable, asyncio.Task[Any]] = {}
        self.settings = ctx.settings(ConsoleSettings)
        self._until = time.monotonic() + timeout_s

    def limited(self, timeout_s: float) -> Ask:
        """The same, whose reads end within `timeout_s` seconds from now."""
        limited = Ask(self.ctx, timeout_s)
        limited._answers, limited._shared = self._answers, self._shared
        return limited

    async def within(self, name: str, key: Hashable, read: Callable[[], Awaitable[Any]]) -> Any:
        """What `read` returns; a `TemporaryError` that names the service after the deadline."""
        if key not in self._answers:
            self._answers[key] = await self.ctx.part(Reads).get(name, key, read, self._until)
        return self._answers[key]

    async def once(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` returns: parts of one page that need the same wait for one of them.

        It goes on where the part that began it is given up, as long as its reads have time.
        """
        task = self._shared.get(key)
        if task is None:
            task = self._shared[key] = asyncio.ensure_future(work())
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        found: T = await asyncio.shield(task)
        return found

    def forget(self) -> None:
        """Let no read be answered by one that began before an action."""
        self._answers.clear()
        self._shared.clear()
        self.ctx.part(Reads).forget()

    @property
    def services(self) -> Services:
        return dsm(self.ctx)

    async def objects(self, api_version: str, plural: str, selector: str = "") -> list[Object]:
        """The objects of one kind in the console's namespace whose labels match."""
        found: list[Object] = await self.within(
            "Kubernetes",
            ("Kubernetes", api_version, plural, selector),
            lambda: self.ctx.cluster.list(api_version, plural, selector),
        )
        return copy.deepcopy(found)

    def function(self, name: str) -> Peer:
        """A function by its Service's name."""
        return Peer(name, self.settings.function_url.replace("{name}", name), self)

    def service(self, client: ServiceClient) -> Peer:
        """A DSM service's routes beyond those of its typed client."""
        return Peer(client.name, client.base_url, self)

    async def events(self, url: str, **query: object) -> list[Row]:
        """The events that fit, newest first, of whoever keeps them."""
        headers = {}
        if self.settings.events_with_kubeconfig:
            kubeconfig = self.ctx.settings(ClusterSettings).kubeconfig
            headers["Authorization"] = f"Bearer {_token_of(kubeconfig)}"
        found = await Peer("record of events", url, self, headers).read("", **query)
        # The local Knative's administration answers with the list itself.
        events: list[Row] = found["events"] if isinstance(found, dict) else found
        return events

    async def runs(self, function: str, **query: object) -> list[Row]:
        """A function's record of runs, newest first."""
        answer = await self.function(function).read("/runs", **query)
        runs: list[Row] = answer["runs"]
        return runs

    async def all_runs(self, function: str, **query: object) -> list[Row]:
        """Every run that fits, page by page; a tally is made once, with the first."""
        found: list[Row] = []
        cursor = None
        while True:
            answer = await self.function(function).read("/runs", **query, limit=200, cursor=cursor)
            found += answer["runs"]
            cursor, query = answer["next"], query | {"tally": None}
            if cursor is None:
                return found

    async def runs_of(
        self, function: str, type_: str, ids: Sequence[str], **query: object
    ) -> list[Row]:
        """What became of some events: the runs of those ids, newest first."""
        found: list[Row] = []
        for first in range(0, len(ids), 100):
            some = list(ids[first : first + 100])
            found += await self.all_runs(function, type=type_, id=some, **query)
        return found


@cache
def _token_of(kubeconfig: str) -> str:
    """The token of a kubeconfig's first user."""
    found: str = yaml.safe_load(Path(kubeconfig).read_text())["users"][0]["user"]["token"]
    return found


def _params(query: Mapping[str, object]) -> dict[str, str | list[str]]:
    return {
        name: [str(v) for v in value] if isinstance(value, list) else str(value)
        for name, value in query.items()
        if value is not None
    }
