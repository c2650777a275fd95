"""Faults on demand: what befalls which calls of the Broker, and when.

A fault is a line of words, the same for the command line, `up --fault` and tests:
`status=503 trigger=shop/mail nth=2`. The Broker makes each of its calls through `Faults.call`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

from knative.local.broker.http import Answer, Outcome

Call = Callable[[], Awaitable[Outcome]]

# Each kind: the least and greatest value and the default, or None where there is no value to give.
KINDS: dict[str, tuple[float, float, float | None] | None] = {
    "twice": None,
    "late": (0, 86_400, None),  # seconds until the call begins
    "slow": (0, 86_400, None),  # seconds that the answer takes longer
    "out-of-order": (0, 86_400, 5.0),  # seconds to wait at most for a delivery that overtakes
    "drop-answer": None,
    "status": (300, 599, None),  # answered instead of the subscriber
    "kill-before": (0, 60, 0.05),  # seconds after the request; an earlier answer is lost
    "kill-after": None,
}
_TARGETS = ("trigger", "service", "host")
_CHOICES = ("nth", "probability", "seed")


@dataclass(frozen=True)
class Fault:
    """What is done to a call. Without a target all calls are meant, without a choice each one.

    `nth` counts the calls of the target from 1; `probability` draws with `seed`.
    """

    kind: str
    value: float | None = None
    trigger: str | None = None  # namespace/name
    service: str | None = None  # namespace/name
    host: str | None = None
    nth: int | None = None
    probability: float | None = None
    seed: int = 0

    @classmethod
    def parse(cls, text: str) -> Fault:
        """From words; ValueError with what there is to say."""
        first, *rest = text.split() or [""]
        kind, equals, number = first.partition("=")
        if kind not in KINDS:
            raise ValueError(f"no fault {kind!r}; there are: {', '.join(KINDS)}")
        given = {}
        for word in rest:
            name, _, value = word.partition("=")
            if name not in (*_TARGETS, *_CHOICES) or not value or name in given:
                names = ", ".join(f"{name}=" for name in (*_TARGETS, *_CHOICES))
                raise ValueError(f"{word!r} is none of {names}, each at most once")
            given[name] = value
        if len(given.keys() & set(_TARGETS)) > 1 or {"nth", "probability"} <= given.keys():
            raise ValueError(f"{text!r}: one of {', '.join(_TARGETS)}, one of nth, probability")
        return cls(
            kind,
            _value(kind, number if equals else None),
            **{name: given.get(name) for name in _TARGETS},
            nth=int(_number("nth", given["nth"], 1, 10**9)) if "nth" in given else None,
            probability=_number("probability", given["probability"], 0, 1)
            if "probability" in given
            else None,
            seed=int(_number("seed", given.get("seed", "0"), 0, 10**9)),
        )

    def __str__(self) -> str:
        words = [self.kind if self.value is None else f"{self.kind}={self.value:g}"]
        for name in (*_TARGETS, "nth", "probability"):
            if (given := getattr(self, name)) is not None:
                words.append(f"{name}={given}")
        return " ".join(words) + (f" seed={self.seed}" if self.probability is not None else "")

    def meets(self, trigger: str, host: str) -> bool:
        """Is a call to `host`, for `trigger`, of the target?"""
        name, _, namespace = host.removesuffix(".svc.cluster.local").partition(".")
        return (
            self.trigger in (None, trigger)
            and self.host in (None, host)
            and self.service in (None, f"{namespace}/{name}")
        )


def _value(kind: str, text: str | None) -> float | None:
    wants = KINDS[kind]
    if wants is None:
        if text is not None:
            raise ValueError(f"{kind} takes no value, it has {text!r}")
        return None
    least, most, default = wants
    if text is None and default is None:
        raise ValueError(f"{kind} takes a value: {kind}=NUMBER, from {least:g} to {most:g}")
    return default if text is None else _number(kind, text, least, most)


def _number(name: str, text: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most or (name in ("nth", "seed", "status") and number % 1):
        raise ValueError(f"{name}={text} is no number from {least:g} to {most:g}")
    return number


@dataclass
class _Active:
    """A fault with what it has done."""

    id: int
    fault: Fault
    calls: int = 0  # of its target
    struck: int = 0
    random: random.Random = field(default_factory=random.Random)

    def strikes(self) -> bool:
        """Does it befall this call, the next one of its target?"""
        self.calls += 1
        nth, probability = self.fault.nth, self.fault.probability
        hit = nth in (None, self.calls)
        if probability is not None:
            hit = self.random.random() < probability
        self.struck += hit
        return hit


class Faults:
    """The faults of a runtime. `kill(host)` ends the process behind a host name at once."""

    def __init__(self, kill: Callable[[str], Awaitable[None]]) -> None:
        self._kill = kill
        self._active: dict[int, _Active] = {}
        self._last_id = 0
        self._held: dict[str, list[asyncio.Event]] = {}  # deliveries to be overtaken, by Trigger

    def add(self, fault: Fault) -> int:
        """Begin a fault; its number."""
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
        """Each fault with the calls of its target, and those that it befell."""
        return [
            {"id": one.id, "fault": str(one.fault), "calls": one.calls, "struck": one.struck}
            for one in self._active.values()
        ]

    async def call(
        self, trigger: str, url: str, make: Call, timeout_s: float, *, repeated: bool
    ) -> tuple[Outcome, str | None, bool]:
        """What the Broker sees of a call, the faults that befell it, and is it made twice?"""
        host = urlsplit(url).hostname or ""
        struck = [
            one.fault
            for one in self._active.values()
            if not (repeated and one.fault.kind == "twice")
            and one.fault.meets(trigger, host)
            and one.strikes()
        ]
        for fault in struck:
            make = partial(self._befall, fault, trigger, host, make, timeout_s)
        outcome = await make()
        for held in self._held.pop(trigger, ()):
            held.set()
        kinds = [fault.kind for fault in struck]
        return outcome, ", ".join(map(str, struck)) or None, "twice" in kinds

    def concern(self, host: str) -> bool:
        """Is there a fault for requests to `host`, whoever makes them?"""
        return any(
            (one.fault.service or one.fault.host) and one.fault.meets("", host)
            for one in self._active.values()
        )

    async def _befall(
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

    async def _overtaken(self, trigger: str, most_s: float) -> None:
        held = asyncio.Event()
        self._held.setdefault(trigger, []).append(held)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(held.wait(), most_s)
