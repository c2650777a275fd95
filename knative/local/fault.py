"""One fault: what is injected into which calls of the Broker, and when.

The same line of words serves the command line, `up --fault` and tests:
`status=503 trigger=shop/mail nth=2`.
"""

from __future__ import annotations

from dataclasses import dataclass

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
_TARGETS = ("trigger", "service", "host", "schedule")
_CHOICES = ("nth", "probability", "seed")


@dataclass(frozen=True)
class Fault:
    """What is done to a call. Without a target all calls of the Broker are meant, without a choice
    each one.

    `nth` counts the calls of the target from 1; `probability` draws with `seed`.
    """

    kind: str
    value: float | None = None
    trigger: str | None = None  # namespace/name
    service: str | None = None  # namespace/name
    host: str | None = None
    schedule: str | None = None  # namespace/name of a PingSource, or * for any
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
        parts = [self.kind if self.value is None else f"{self.kind}={self.value:g}"]
        for name in (*_TARGETS, "nth", "probability"):
            if (given := getattr(self, name)) is not None:
                parts.append(f"{name}={given}")
        return " ".join(parts) + (f" seed={self.seed}" if self.probability is not None else "")

    def matches(self, trigger: str, host: str, schedule: str = "") -> bool:
        """Is a call to `host`, for `trigger` or of `schedule`, of the target?"""
        if schedule or self.schedule:
            return bool(schedule) and self.schedule in ("*", schedule)
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
    minimum, maximum, default = wants
    if text is None and default is None:
        raise ValueError(f"{kind} takes a value: {kind}=NUMBER, from {minimum:g} to {maximum:g}")
    return default if text is None else _number(kind, text, minimum, maximum)


def _number(name: str, text: str, minimum: float, maximum: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = minimum - 1
    if not minimum <= number <= maximum or (name in ("nth", "seed", "status") and number % 1):
        raise ValueError(f"{name}={text} is no number from {minimum:g} to {maximum:g}")
    return number
