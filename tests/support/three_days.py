"""Three working days of virtual time: ticks lost and doubled, a night and a morning without the
runtime, and webhooks of which some are lost at the entrance and some are never tried."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from knative.local.instance import free_port
from knative.local.random_secrets import read
from knative.local.testing import LocalKnative
from tests.support.github_standin import GithubStandIn
from tests.support.github_world import Fate
from tests.support.listening import listening
from tests.support.local_knative import ROOT
from tests.support.manifest_files import on_top_of

OVERLAY = ROOT / "knative/overlays/local"
REPOSITORY, HOOK = "o/r", "repos/o/r/hooks/1"
BEGIN = datetime(2026, 12, 1, 12, tzinfo=UTC)  # a Tuesday, 6:00 in Chicago
DOWN = BEGIN + timedelta(hours=12)
UP = BEGIN + timedelta(hours=30)  # the next noon
END = BEGIN + timedelta(hours=54)  # Thursday noon
STEP = timedelta(hours=3)
# A tenth of all ticks is lost and a tenth is doubled, among them these.
FAULTS = (
    "status=400 schedule=* probability=0.1 seed=4",
    "twice schedule=* probability=0.1 seed=9",
    "status=400 schedule=dsm/sprint-report nth=1",
    "twice schedule=dsm/scrum-simulate nth=1",
)
# Of 200 webhooks: label, what becomes of the delivery, how many. 12 of them are lost while it is
# down. Each with the label of agents ends in a Job, which takes seconds of the processor.
WEBHOOKS: tuple[tuple[str, Fate, int], ...] = (
    ("agent", "arrives", 8),
    ("agent", "lost", 6),
    ("agent", "untried", 5),
    ("bug", "arrives", 157),
    ("bug", "lost", 12),
)
WHILE_DOWN = ("agent", "bug", "bug") * 4


@dataclass
class ThreeDays:
    """The runtime, GitHub, and the issues by the label that each of them got."""

    knative: LocalKnative
    github: GithubStandIn
    labelled: dict[str, list[int]] = field(default_factory=lambda: {"agent": [], "bug": []})
    faults: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, service: str, path: str, method: str = "GET") -> str:
        """What a Service answers; it must be a success."""
        headers = {"Host": f"{service}.dsm.svc.cluster.local"}
        answer = self.knative.admin.send(method, path, headers=headers)
        assert answer.is_success, (service, path, answer)
        return answer.body.decode()

    def json(self, service: str, path: str) -> Any:
        return json.loads(self.ask(service, path))

    async def pass_by(self) -> None:
        """From the first morning to the last evening."""
        self.ask("project-orchestrator", "/sample-data", "POST")
        webhooks = [one[:2] for one in WEBHOOKS for _ in range(one[2])]
        random.Random(1).shuffle(webhooks)
        for at in _steps(BEGIN, DOWN):
            await self._step(webhooks, at)
        self.knative.kill()
        clock, self.github.now = self.github.now, lambda: UP - timedelta(hours=3)
        for label in WHILE_DOWN:
            await self._happens(label, "lost")
        self.knative.arguments = [*self.knative.arguments, "--clock", UP.isoformat()]
        await asyncio.to_thread(self.knative.start)
        self.github.now = clock
        for at in _steps(UP, END):
            await self._step(webhooks, at)
        assert not webhooks, "all of them have happened"
        # Of schedules without a ledger the console knows the last tick: a quarter of an hour in
        # which no tick is lost, or left out as nothing happens.
        self.faults = self.knative.admin.ask("faults")
        self.knative.clear_faults()
        for _ in range(6):
            await asyncio.to_thread(self.knative.advance, "3m")

    async def _step(self, webhooks: list[tuple[str, Fate]], at: datetime) -> None:
        """A few webhooks, and time passes; with the last ones what is left of it."""
        left = (END - at) // STEP - ((UP - DOWN) // STEP if at < DOWN else 0)
        for _ in range(-(-len(webhooks) // left)):
            await self._happens(*webhooks.pop())
        await asyncio.to_thread(self.knative.advance, f"{STEP.total_seconds():.0f}s")

    async def _happens(self, label: str, fate: Fate) -> None:
        number = await self.github.opened(REPOSITORY)
        self.labelled[label].append(number)
        await self.github.labelled(REPOSITORY, number, label, fate)


def _steps(since: datetime, before: datetime) -> list[datetime]:
    return [since + STEP * number for number in range((before - since) // STEP)]


@asynccontextmanager
async def three_days(folder: Path) -> AsyncIterator[ThreeDays]:
    """Ready to begin; GitHub is served beside it, and its deliveries come from outside."""
    port = free_port()
    data = folder / "data"

    def now() -> datetime:
        kind, seconds = (data / "clock").read_text().split()
        began = time.time() if kind == "offset" else 0.0
        return datetime.fromtimestamp(began + float(seconds), UTC)

    outside = {"host": f"webhook-receiver.dsm.localhost:{port}"}
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers=outside, trust_env=False, timeout=60
    ) as receiver:
        github = GithubStandIn(now, receiver, "", (HOOK,))
        async with listening(github) as url:
            arguments = ["--port", str(port), "--map", f"github.outside={url}"]
            arguments += [word for fault in FAULTS for word in ("--fault", fault)]
            arguments += ["--clock", BEGIN.isoformat()]
            overlay = _overlay(folder / "overlay", github.token)
            knative = LocalKnative(overlay, data, arguments, folder=ROOT)
            try:
                await asyncio.to_thread(knative.start)
                github.secret = read(data)["dsm/webhook-secrets"]["github"]
                yield ThreeDays(knative, github)
            finally:
                await asyncio.to_thread(knative.stop)
    assert github.document.violations == []


def _overlay(folder: Path, token: str) -> Path:
    """All that runs on a laptop, with a receiver that asks GitHub."""
    settings = {
        "GITHUB_API_URL": "http://github.outside.svc.cluster.local",
        "GITHUB_HOOKS": HOOK,
        "GITHUB_TOKEN": token,
    }
    at = "/spec/template/spec/containers/0/env/-"
    patch = [
        {"op": "add", "path": at, "value": {"name": name, "value": value}}
        for name, value in settings.items()
    ]
    target = {"kind": "Service", "name": "webhook-receiver"}
    return on_top_of(OVERLAY, folder, {"target": target, "patch": json.dumps(patch)})
