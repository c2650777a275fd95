"""What the edge of a function may touch: made once per process, or by a test with its own parts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from functions.kit.clients import transaction_guard
from functions.kit.durable.checkpoints import Checkpoints
from functions.kit.durable.claim_work_settle import Durable, Write
from functions.kit.durable.database import Store
from functions.kit.errors import TemporaryError
from functions.kit.settings import DatabaseSettings, HttpSettings, ProcessSettings, Settings
from functions.kit.telemetry import trace
from functions.kit.telemetry.metrics import Meter

if TYPE_CHECKING:
    import httpx

    from functions.kit.clients.github import Github
    from functions.kit.clients.kubernetes import Cluster
    from functions.kit.clients.publisher import Post, Publisher
    from functions.kit.clients.service_tokens import ServiceTokens
    from functions.kit.durable.database import Connection
    from functions.kit.durable.locks import Lock

# The longest wait of a request for another; an event has a deadline of its own.
_MAX_WAIT_S = 30.0

S = TypeVar("S", bound=Settings)
P = TypeVar("P")


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _clock(file: str) -> Callable[[], datetime]:
    """The machine's clock, or the virtual one that `file` tells."""

    def virtual_now() -> datetime:
        kind, seconds = Path(file).read_text().split()
        began = time.time() if kind == "offset" else 0.0
        return datetime.fromtimestamp(began + float(seconds), UTC)

    return virtual_now if file else _utc_now


class Resources:
    """The process's connections, each opened when first used."""

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.environ = environ
        self._transport = transport
        self._settings: dict[type[Settings], Settings] = {}
        self._parts: dict[Callable[[Resources], Any], Any] = {}
        self._github: Github | None = None
        self._clients: list[httpx.AsyncClient] = []
        self.process = self.settings(ProcessSettings)
        self.meter = Meter()

    def settings(self, kind: type[S]) -> S:
        if kind not in self._settings:
            self._settings[kind] = kind.read(self.environ)
        found = self._settings[kind]
        assert isinstance(found, kind)
        return found

    @cached_property
    def now(self) -> Callable[[], datetime]:
        """The clock of the process: the machine's, or the virtual one of CLOCK_FILE."""
        return _clock(self.process.clock_file)

    @cached_property
    def http(self) -> httpx.AsyncClient:
        import httpx

        from functions.kit.clients.http import Client

        settings = self.settings(HttpSettings)
        connections = settings.service_connections
        timeout = httpx.Timeout(settings.service_timeout_s, connect=5.0)
        hooks = self._hooks()
        made = trace.client_class(Client) if self._transport is None else Client
        return made(
            transport=self._transport,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            timeout=timeout,
            event_hooks=hooks,
            max_answer_bytes=settings.service_max_answer_bytes,
        )

    def trusting(self, ca_file: str) -> httpx.AsyncClient:
        """A client that knows a host by the authority in `ca_file` alone; empty: as usual."""
        if not ca_file or self._transport is not None:
            return self.http
        import ssl

        from functions.kit.clients.http import Client

        try:
            authority = ssl.create_default_context(cafile=ca_file)
        except OSError as error:  # a bad certificate is one as well
            raise TemporaryError(f"cannot read {ca_file}: {error}") from None
        client = trace.client_class(Client)(
            verify=authority,
            event_hooks={"request": [_reported]},
            max_answer_bytes=self.settings(HttpSettings).service_max_answer_bytes,
        )
        self._clients.append(client)
        return client

    def _hooks(self) -> dict[str, list[Callable[..., Any]]]:
        tokens = self._service_tokens
        return {"request": [_reported] if tokens is None else [_reported, tokens]}

    @cached_property
    def _service_tokens(self) -> ServiceTokens | None:
        folder = self.settings(HttpSettings).service_tokens
        if not folder:
            return None
        from functions.kit.clients.service_tokens import ServiceTokens

        return ServiceTokens(folder, self.process.cluster_domain)

    @cached_property
    def post(self) -> Post:
        """The way to the sink."""
        from functions.kit.clients.sink import AiohttpPost, HttpxPost

        if self._transport is not None:
            return HttpxPost(self.http)
        if not trace.is_on():
            return AiohttpPost(self.process, self._service_tokens)
        from functions.kit.clients.http import Client
        from functions.kit.clients.publisher import trust

        client = trace.client_class(Client)(verify=trust(self.process), event_hooks=self._hooks())
        return HttpxPost(client)

    @cached_property
    def store(self) -> Store:
        return Store(self.settings(DatabaseSettings), self.now if self.process.clock_file else None)

    @cached_property
    def durable(self) -> Durable:
        return Durable(self.store, self.publisher)

    @cached_property
    def publisher(self) -> Publisher:
        from functions.kit.clients.publisher import Publisher

        return Publisher(self.process, self.post)

    @cached_property
    def cluster(self) -> Cluster:
        from functions.kit.clients.kubernetes import Cluster, ClusterSettings

        return Cluster(self.settings(ClusterSettings))

    def github(self, now: Callable[[], datetime]) -> Github:
        """The one client of GitHub: it knows its tokens and limits."""
        if self._github is None:
            from functions.kit.clients.github import Github
            from functions.kit.clients.github_app import GithubSettings

            self._github = Github(self.settings(GithubSettings), self.http, now)
        return self._github

    def part(self, make: Callable[[Resources], P]) -> P:
        """What a function keeps for its process, made once; closed by its `close` if it has one."""
        if make not in self._parts:
            self._parts[make] = make(self)
        found: P = self._parts[make]
        return found

    async def close(self) -> None:
        if "durable" in self.__dict__:
            await self.durable.close()  # first: it still sends
        for part in self._parts.values():
            if close := getattr(part, "close", None):
                await close()
        if "cluster" in self.__dict__:
            await self.cluster.close()
        if "post" in self.__dict__:
            await self.post.close()
        if "http" in self.__dict__:
            self._clients.append(self.http)
        for client in self._clients:
            await client.aclose()
        if "store" in self.__dict__:
            await self.store.close()


@dataclass(frozen=True)
class Context:
    """One request's view of the process: the clock, the database, the clients, the transaction.

    `key` names the request, the same for each repeat of it: derive idempotency keys from it.
    `tx` is the transaction that claims and settles, in functions with `inbox="transaction"`.
    `until` is when work on an event should be over, by the monotonic clock; Kubernetes is asked
    for no longer. `deadline` is when it stops waiting for other requests. `event` is the source and
    id of the tick at hand, which may be taken back.
    """

    resources: Resources
    function: str
    now: Callable[[], datetime] = _utc_now
    key: str = ""
    tx: Connection | None = field(default=None, repr=False)
    until: float = math.inf
    deadline: float = math.inf
    writes: list[Write] = field(default_factory=list, repr=False)
    committed: list[Callable[[], None]] = field(default_factory=list, repr=False)
    event: tuple[str, str] | None = None

    @property
    def remaining_s(self) -> float:
        """The time that remains for this event, in seconds."""
        return max(0.0, self.until - time.monotonic())

    @property
    def http(self) -> httpx.AsyncClient:
        return self.resources.http

    @property
    def store(self) -> Store:
        return self.resources.store

    @property
    def cluster(self) -> Cluster:
        return self.resources.cluster.until(self.until)

    @property
    def github(self) -> Github:
        """GitHub, as the App or with the token of the settings."""
        return self.resources.github(self.now)

    @property
    def asks_github(self) -> bool:
        """Are there credentials for GitHub?"""
        from functions.kit.clients.github_app import GithubSettings

        return self.settings(GithubSettings).can_ask

    @property
    def publisher(self) -> Publisher:
        return self.resources.publisher

    def alone(self, lock: Lock, *entity: str) -> AbstractAsyncContextManager[None]:
        """Let one request at a time work on an entity, over all processes; the others wait until
        their deadline, then get a `TemporaryError`."""
        deadline = min(self.deadline, time.monotonic() + _MAX_WAIT_S)
        return self.resources.durable.claims.held(lock, *entity, deadline=deadline)

    def settle(self, write: Write) -> None:
        """Have `write` called with the transaction that records the answer, in functions with an
        inbox: it is committed with the answer, the run and the events, or not at all."""
        self.writes.append(write)

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Have `callback` called as soon as the answer is committed, in functions with an inbox; a
        repeat, whose answer was committed before, calls nothing."""
        self.committed.append(callback)

    def settings(self, kind: type[S]) -> S:
        return self.resources.settings(kind)

    def part(self, make: Callable[[Resources], P]) -> P:
        return self.resources.part(make)

    def checkpoints(self, key: str) -> Checkpoints:
        """The durable steps of the piece of work that `key` names."""
        return Checkpoints(self.store, self.function, key, self.event)

    def within(
        self, key: str, event: tuple[str, str] | None, until: float, deadline: float
    ) -> Context:
        """The same for the request that `key` names, with nothing written yet."""
        return Context(
            *(self.resources, self.function, self.now, key),
            until=until,
            deadline=deadline,
            event=event,
        )


async def _reported(request: httpx.Request) -> None:
    transaction_guard.network_call(str(request.url))


_resources: Resources | None = None


def process_context(function: str) -> Context:
    """The context of this process; one for its whole life, as a process runs one function."""
    global _resources
    if _resources is None:
        _resources = Resources()
    return Context(_resources, function, _resources.now)
