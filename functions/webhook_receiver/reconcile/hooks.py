"""What GitHub's hooks have delivered, by its own list; what is not in the ledger is fetched."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from functions.kit.clients import Github, typed
from functions.kit.clients.github import Answer
from functions.kit.context import Context
from functions.kit.errors import NotFound, PermanentError, TemporaryError, shortened
from functions.webhook_receiver.acceptance import accept
from functions.webhook_receiver.intake import SOURCES, Arrival
from functions.webhook_receiver.reconcile import comparison, decide, hook_tables
from functions.webhook_receiver.reconcile.decide import Listed, Made, Walk
from functions.webhook_receiver.reconcile.failures import failure_of
from functions.webhook_receiver.reconcile.github_body import request_of
from functions.webhook_receiver.reconcile.wanted import wanted_types
from functions.webhook_receiver.reconcile_settings import APP
from functions.webhook_receiver.senders.github_adapter import listed_type
from functions.webhook_receiver.state import Receiver
from functions.webhook_receiver.tables import Delivery

PAGE = 100
# So many are looked up at once.
AT_ONCE = 200
READ = {"repository_hooks": "read"}
# Circles are looked at again by and by: they cost requests.
CIRCLE_S = 300.0


class Hook:
    """One hook of GitHub, compared until `until` by the monotonic clock."""

    def __init__(self, name: str, github: Github, ctx: Context, keeps: timedelta) -> None:
        self.name = name
        self._github = github
        self._ctx = ctx
        self._keeps = keeps

    async def compare(self, memory: Mapping[str, Any], until: float) -> bool:
        """Read the list down to what is known, and fetch what is missing; True if all is done."""
        return await self._read(Walk(**memory), until) and await self._fetch(until)

    async def _read(self, walk: Walk, until: float) -> bool:
        while time.monotonic() < until:
            answer = await self._page(walk)
            if not walk.cursor:
                walk = decide.begun(walk, answer.at, self._keeps)
            if not answer.changed:
                await self._remember(decide.finished(walk), [])
                return True
            if not walk.cursor:
                walk = replace(walk, etag=answer.etag)
            rows = typed("GitHub", list[Listed], answer.body)
            following = (answer.next or {}).get("cursor", "")
            try:
                walk = decide.after_page(walk, [row.id for row in rows], following)
            except ValueError as error:
                await self._remember(replace(decide.at_top(walk), etag=""), [])
                raise TemporaryError(str(error), delay_s=CIRCLE_S) from None
            await self._remember(walk, decide.by_guid(rows))
            if not walk.cursor:
                return True
        return False

    async def _page(self, walk: Walk) -> Answer:
        """The next page; the first is not `changed` where nothing is new since the last walk."""
        # Without `status`: what GitHub delivered well may be in no ledger all the same, and the
        # health says of all that was made how many are here.
        query = {"per_page": str(PAGE)} | ({"cursor": walk.cursor} if walk.cursor else {})
        etag = "" if walk.cursor else walk.etag
        try:
            return await self._ask("", query, etag)
        except PermanentError:
            if walk.cursor:  # it may be too old
                await self._remember(replace(decide.at_top(walk), etag=""), [])
            raise

    async def _ask(self, at: str, query: Mapping[str, str] | None = None, etag: str = "") -> Answer:
        if self.name == APP:
            return await self._github.as_app(f"/app/hook/deliveries{at}", query, etag=etag)
        kind, owner, name, *_ = self.name.split("/")
        return await self._github.get(
            f"/{self.name}/deliveries{at}",
            query,
            repository=f"{owner}/{name}" if kind == "repos" else "",
            permissions=READ,
            etag=etag,
        )

    async def _remember(self, walk: Walk, made: list[Made]) -> None:
        async with self._ctx.store.transaction() as tx:
            await hook_tables.note(tx, self.name, made)
            await comparison.remember(tx, self.name, asdict(walk))

    async def _fetch(self, until: float) -> bool:
        """Take in what is missing and wanted; what has no consumer needs no request."""
        async with self._ctx.store.transaction() as tx:
            await hook_tables.look_again(tx, self.name, self._github.time - self._keeps)
            kinds = await hook_tables.open_kinds(tx, self.name)
        if not kinds:
            return True
        types = await wanted_types(self._ctx)
        wanted = decide.wanted({kind: listed_type(*kind) for kind in kinds}, types)
        async with self._ctx.store.transaction() as tx:
            await hook_tables.sort_out(tx, self.name, wanted)
        now, problem = self._ctx.now(), ""
        while time.monotonic() < until:
            async with self._ctx.store.connection() as connection:
                missing = await hook_tables.missing(connection, self.name, now, AT_ONCE)
            for made in missing:
                if time.monotonic() > until:
                    return False
                problem = await self._settle(made, now) or problem
            if len(missing) < AT_ONCE:
                if problem:
                    raise TemporaryError(problem)
                return True
        return False

    async def _settle(self, made: Made, now: datetime) -> str:
        """Take in one delivery; returns what went wrong, which costs no other."""
        problem, retry_at = "", None
        try:
            state, reason = await self._take_in(made)
        except Exception as error:
            reason, pause = failure_of(error, f"delivery {made.guid}")
            state, retry_at = "missing", now + pause
            problem = "" if isinstance(error, NotFound) else reason
        async with self._ctx.store.connection() as connection:
            await hook_tables.settle(connection, self.name, made.guid, state, reason, retry_at)
        return problem

    async def _take_in(self, made: Made) -> tuple[str, str | None]:
        """Fetch a delivery and accept it as if it had come; its state then, and why."""
        detail = await self._ask(f"/{made.attempt}")
        try:
            request = request_of(detail.body, self._ctx.part(Receiver).settings.secrets["github"])
            arrival = Arrival(request.headers, request.body, made.delivered_at)
            found = SOURCES["github"].read(arrival)
        except PermanentError as error:
            return "refused", shortened(error.detail)
        assert isinstance(found, Delivery), "GitHub asks nothing"
        found = replace(found, attributes={**found.attributes, "via": "fetched"})
        return ("fetched" if await accept(found, self._ctx, waits=True) else "here"), None
