"""The faults of a runtime: the Broker makes each of its calls through `Faults.call`."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

from knative.local.broker.dispatcher import FAN_OUT_S
from knative.local.broker.http import Answer, Outcome
from knative.local.fault import Fault

Call = Callable[[], Awaitable[Outcome]]


@dataclass
class _Active:
    """A fault with what it has done."""

    id: int
    fault: Fault
    calls: int = 0  # of its target
    injected: int = 0
    random: random.Random = field(default_factory=random.Random)

    def applies(self) -> bool:
        """Is it injected into this call, the next one of its target?"""
        self.calls += 1
        nth, probability = self.fault.nth, self.fault.probability
        hit = nth in (None, self.calls)
        if probability is not None:
            hit = self.random.random() < probability
        self.injected += hit
        return hit


@dataclass(frozen=True)
class Targets:
    """What faults can target: the subscriber's host of each Trigger, the host of each Service."""

    triggers: Mapping[str, str]
    services: Mapping[str, str]

    def check(self, fault: Fault) -> None:
        """ValueError where there is no such target, or none that can be killed."""
        for kind, name, there in (
            ("Trigger", fault.trigger, self.triggers),
            ("Service", fault.service, self.services),
        ):
            if name is not None and name not in there:
                raise ValueError(f"no {kind} {name!r}; there are: {', '.join(there) or 'none'}")
        if fault.kind.startswith("kill"):
            host = fault.host or self.services.get(fault.service or "")
            if (host or self.triggers.get(fault.trigger or "")) not in self.services.values():
                raise ValueError(f"'{fault}' needs a target that is a process here")


class Faults:
    """The faults of a runtime. `kill(host)` ends the process behind a host name at once."""

    def __init__(self, kill: Callable[[str], Awaitable[None]], targets: Targets) -> None:
        self._kill = kill
        self._targets = targets
        self._active: dict[int, _Active] = {}
        self._last_id = 0
        self._held: dict[str, list[asyncio.Event]] = {}  # deliveries to be overtaken, by Trigger

    def add(self, text: str) -> int:
        """Begin the fault that `text` says; its number. ValueError with what there is."""
        fault = Fault.parse(text)
        self._targets.check(fault)
        self._last_id += 1
        self._active[self._last_id] = _Active(
            self._last_id, fault, random=random.Random(fault.seed)
        )
        return self._last_id

    def clear(self, id: int | None = None) -> int:
        """End one fault or all; how many there were."""
        gone = [one for one in self._active if id in (None, one)]
        for one in gone:
            del self._active[one]
        return len(gone)

    def list(self) -> list[dict[str, int | str]]:
        """Each fault with the calls of its target, and the calls into which it was injected."""
        return [
            {"id": one.id, "fault": str(one.fault), "calls": one.calls, "injected": one.injected}
            for one in self._active.values()
        ]

    async def tick(
        self, schedule: str, url: str, make: Call, *, repeated: bool
    ) -> tuple[Outcome, bool]:
        """What a PingSource sees of its call, and is the tick doubled?"""
        outcome, _, twice = await self.call(
            "", url, make, FAN_OUT_S, repeated=repeated, schedule=schedule
        )
        return outcome, twice

    async def call(
        self,
        trigger: str,
        url: str,
        make: Call,
        timeout_s: float,
        *,
        repeated: bool,
        schedule: str = "",
    ) -> tuple[Outcome, str | None, bool]:
        """What the Broker sees of a call, the faults that were injected, and is it made twice?

        With a `schedule`, as namespace/name, it is the call of a PingSource.
        """
        host = urlsplit(url).hostname or ""
        injected = [
            one.fault
            for one in self._active.values()
            if not (repeated and one.fault.kind == "twice")
            and one.fault.matches(trigger, host, schedule)
            and one.applies()
        ]
        for fault in injected:
            make = partial(self._inject, fault, trigger, host, make, timeout_s)
        outcome = await make()
        for held in self._held.pop(trigger, ()):
            held.set()
        kinds = [fault.kind for fault in injected]
        return outcome, ", ".join(map(str, injected)) or None, "twice" in kinds

    def concern(self, host: str) -> bool:
        """Is there a fault for requests to `host`, whoever makes them?"""
        return any(
            (one.fault.service or one.fault.host) and one.fault.matches("", host)
            for one in self._active.values()
        )

    async def _inject(
        self, fault: Fault, trigger: str, host: str, make: Call, timeout_s: float
    ) -> Outcome:
        value = fault.value or 0.0
        match fault.kind:
            case "late":
                await asyncio.sleep(value)
            case "out-of-order":
                await self._overtaken(trigger, value)
            case "status":
                return Answer(int(value), body=b"a fault on demand")
            case "kill-before":
                call = asyncio.ensure_future(make())
                try:
                    await asyncio.wait({call}, timeout=value)
                    await self._kill(host)
                    await call
                finally:
                    call.cancel()
                return Answer(502, body=b"EOF: the process was killed, a fault on demand")
        outcome = await make()
        match fault.kind:
            case "slow":
                await asyncio.sleep(min(value, timeout_s))
                return TimeoutError("a fault on demand") if value >= timeout_s else outcome
            case "drop-answer":
                return ConnectionError("the answer was dropped, a fault on demand")
            case "kill-after":
                await self._kill(host)
        return outcome

    async def _overtaken(self, trigger: str, max_s: float) -> None:
        held = asyncio.Event()
        self._held.setdefault(trigger, []).append(held)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(held.wait(), max_s)
