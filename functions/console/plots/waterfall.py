"""A trace over time: each event's arrival and the attempts to deliver it, as bars with gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from functions.console.ask import Row
from functions.console.formatting import duration, instant, tone

# Thousandths of the width; what takes no time is seen too.
WHOLE, MIN_WIDTH = 1000, 8


@dataclass(frozen=True)
class Bar:
    """Where a bar begins and how long it is, in thousandths of the trace; what it says on hover."""

    x: int
    width: int
    tone: str
    text: str


def waterfall(events: Sequence[Row]) -> float:
    """Give each event its `bars` and each attempt its `gap_ms`; returns the trace's length, ms.

    A gap is the time from the event's arrival, or from the attempt before, to this attempt.

    >>> first = {"at": 1.0, "took_s": 1.0, "status": 503}
    >>> second = {"at": 4.0, "took_s": 1.0, "status": 202}
    >>> event = {"arrived": 0.0, "deliveries": [{"trigger": "dsm/a", "attempts": [first, second]}]}
    >>> waterfall([event]), first["gap_ms"], second["gap_ms"]
    (5000.0, 1000.0, 2000.0)
    >>> [(bar.x, bar.width, bar.tone, bar.text) for bar in event["bars"]]
    [(200, 200, 'bad', 'a: 503 after 1.0 s'), (800, 200, 'good', 'a: 202 after 1.0 s')]
    """
    began: float = min(event["arrived"] for event in events)
    ended: float = max(event["arrived"] for event in events)
    for event in events:
        for delivery in event["deliveries"]:
            free = event["arrived"]
            for attempt in delivery["attempts"]:
                start, end = times(attempt)
                attempt["gap_ms"] = 1000 * max(0.0, start - free)
                free = end
                ended = max(ended, end)
    whole = max(ended - began, 0.001)
    for event in events:
        event["bars"] = [
            _bar(delivery, attempt, began, whole)
            for delivery in event["deliveries"]
            for attempt in delivery["attempts"]
        ]
        event["at"] = _place((event["arrived"] - began) / whole)
    return 1000 * (ended - began)


def attempts_of(delivery: Row) -> list[Row]:
    """The attempts to deliver an event: that its dead letter was handed to the sink is none.

    >>> len(attempts_of({"attempts": [{"status": 422}, {"status": 202, "sink": True}]}))
    1
    """
    return [attempt for attempt in delivery["attempts"] if not attempt.get("sink")]


def times(attempt: Row) -> tuple[float, float]:
    """When an attempt began and ended, seconds since 1970: the broker's, or a recorded run's."""
    if "took_s" in attempt:
        return attempt["at"], attempt["at"] + attempt["took_s"]
    ended = instant(attempt["ended_at"])
    assert ended is not None
    return ended.timestamp() - attempt["took_ms"] / 1000, ended.timestamp()


def _bar(delivery: Row, attempt: Row, began: float, whole: float) -> Bar:
    start, end = times(attempt)
    x = _place((start - began) / whole)
    width = max(MIN_WIDTH, round(WHOLE * (end - start) / whole))
    function = str(delivery["trigger"]).rpartition("/")[2]
    result = attempt.get("outcome") or attempt.get("status") or "no answer"
    what = f"{to_sink(attempt)}, {result}" if attempt.get("sink") else result
    text = f"{function}: {what} after {duration(1000 * (end - start))}"
    return Bar(x, min(width, WHOLE - x), tone_of(attempt), text)


def to_sink(attempt: Row) -> str:
    """What an attempt at a dead letter's sink came to.

    >>> [to_sink({"status": status}) for status in (202, 503)]
    ['handed to the dead-letter sink', 'the dead-letter sink did not take it']
    """
    is_taken = 200 <= (attempt.get("status") or 0) < 300
    return "handed to the dead-letter sink" if is_taken else "the dead-letter sink did not take it"


def tone_of(attempt: Row) -> str:
    """Whether an attempt went well; that a dead letter was kept is neither good nor bad."""
    if attempt.get("sink") and attempt["status"]:
        return "calm" if attempt["status"] < 300 else "bad"
    if "outcome" in attempt:
        return tone(attempt["outcome"])
    return "good" if 200 <= (attempt["status"] or 0) < 300 else "bad"


def _place(share: float) -> int:
    return round(WHOLE * min(max(share, 0.0), 1.0 - MIN_WIDTH / WHOLE))
