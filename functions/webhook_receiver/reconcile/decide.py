"""What a hook's list of deliveries says, and how far it was read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

Kind = tuple[str, str | None]  # GitHub's name of an event, and its action


@dataclass(frozen=True)
class Listed:
    """One attempt, as GitHub lists it."""

    id: int
    guid: str
    delivered_at: datetime
    event: str
    action: str | None


@dataclass(frozen=True)
class Made:
    """A delivery that GitHub has made, in however many attempts.

    `attempt` is its newest; `delivered_at` is when it was first tried.
    """

    guid: str
    event: str
    action: str | None
    attempt: int
    delivered_at: datetime


@dataclass(frozen=True)
class Walk:
    """How far a hook's list was read, newest first.

    All attempts up to the `watermark` are known. A walk that is not at its end goes on at `cursor`;
    it began at the attempt `top` and has come down to `lowest`. `begun` is when it
    began, by GitHub's time, and `at` when the last one did that came to its end. `forgotten` is
    what GitHub had forgotten before anybody looked, from when and to when.
    """

    watermark: int = 0
    top: int = 0
    lowest: int = 0
    cursor: str = ""
    etag: str = ""
    begun: str = ""
    at: str = ""
    forgotten: tuple[str, str] | None = None


def by_guid(rows: Iterable[Listed]) -> list[Made]:
    """The deliveries behind attempts: a guid is a delivery, however often it was tried.

    >>> at = datetime(2026, 1, 1)
    >>> rows = [Listed(i, g, at.replace(day=i), "push", None)
    ...         for i, g in ((3, "a"), (2, "b"), (1, "a"))]
    >>> [(made.guid, made.attempt, made.delivered_at.day) for made in by_guid(rows)]
    [('a', 3, 1), ('b', 2, 2)]
    """
    found: dict[str, Made] = {}
    for row in rows:
        known = found.get(row.guid)
        found[row.guid] = Made(
            row.guid,
            row.event,
            row.action,
            max(row.id, known.attempt if known else 0),
            min(row.delivered_at, known.delivered_at if known else row.delivered_at),
        )
    return list(found.values())


def after_page(walk: Walk, ids: Sequence[int], cursor: str) -> Walk:
    """The walk after a page: at its end (`cursor` empty) all is known that GitHub lists.

    A page that reaches the watermark is the last one. `ValueError` where one brings nothing older.

    >>> walk = after_page(Walk(watermark=3), [9, 8], "a")
    >>> walk
    Walk(watermark=3, top=9, lowest=8, cursor='a', etag='', begun='', at='', forgotten=None)
    >>> after_page(walk, [5, 3], "b") == Walk(watermark=9)
    True
    """
    if ids and walk.lowest and min(ids) >= walk.lowest:
        raise ValueError("GitHub's pages of deliveries go in a circle")
    top = walk.top or max(ids, default=walk.watermark)
    if not ids or not cursor or min(ids) <= walk.watermark:
        return finished(replace(walk, watermark=max(top, walk.watermark)))
    return replace(walk, top=top, lowest=min(ids), cursor=cursor)


def at_top(walk: Walk) -> Walk:
    """The next walk begins with the newest; what is known is known."""
    return replace(walk, top=0, lowest=0, cursor="")


def begun(walk: Walk, now: datetime, keeps: timedelta) -> Walk:
    """The walk that begins now: was the last one so long ago that GitHub has forgotten some?

    >>> now = datetime(2026, 1, 9)
    >>> begun(Walk(at="2026-01-07T00:00:00"), now, timedelta(days=3)).forgotten
    >>> begun(Walk(at="2026-01-02T00:00:00"), now, timedelta(days=3)).forgotten
    ('2026-01-02T00:00:00', '2026-01-06T00:00:00')
    """
    kept_since = now - keeps
    gap = bool(walk.at) and datetime.fromisoformat(walk.at) < kept_since
    forgotten = (walk.at, kept_since.isoformat()) if gap else walk.forgotten
    return replace(walk, begun=now.isoformat(), forgotten=forgotten)


def finished(walk: Walk) -> Walk:
    """All is known up to when it began."""
    return replace(at_top(walk), at=walk.begun)


def wanted(listed: Mapping[Kind, str], types: Collection[str]) -> set[Kind]:
    """Those kinds whose type, as far as it is known, is one of `types`, with `*` at the end any.

    >>> kinds = {("issues", "labeled"): "com.github.issue.labeled", ("create", None):
    ...          "com.github.create*", ("star", "created"): "com.github.star.created"}
    >>> wanted(kinds, ["com.github.issue.labeled"])
    {('issues', 'labeled')}
    >>> wanted(kinds, ["com.github.create.tag", "com.github.starry"])
    {('create', None)}
    >>> len(wanted(kinds, ["com.github.*"]))
    3
    """
    return {kind for kind, of in listed.items() if any(_may_be(of, one) for one in types)}


def _may_be(found: str, pattern: str) -> bool:
    """Both may leave their end open."""
    name, wanted = found.removesuffix("*"), pattern.removesuffix("*")
    return (
        name == wanted
        or (pattern != wanted and name.startswith(wanted))
        or (found != name and wanted.startswith(name))
    )


def present_label(timeline: Iterable[Mapping[str, Any]], label: str) -> Mapping[str, Any] | None:
    """The event since which an issue has a label, by its timeline, oldest first; None without it.

    >>> def event(kind, name, day):
    ...     return {"event": kind, "label": {"name": name}, "created_at": day}
    >>> story = [event("labeled", "Agent", 1), {"event": "commented"}, event("labeled", "bug", 2)]
    >>> present_label(story, "agent")["created_at"]
    1
    >>> present_label([*story, event("unlabeled", "agent", 3)], "agent") is None
    True
    """
    found: Mapping[str, Any] | None = None
    for event in timeline:
        if event.get("event") in ("labeled", "unlabeled") and same(event["label"]["name"], label):
            found = event if event["event"] == "labeled" else None
    return found


def same(label: str, other: str) -> bool:
    """Names of labels do not differ by case."""
    return label.casefold() == other.casefold()


def label_of(issue: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An issue's label of that name, as a delivery has it; GitHub may list names alone.

    >>> label_of({"labels": ["bug", {"name": "Agent", "color": "fff"}]}, "agent")
    {'name': 'Agent', 'color': 'fff'}
    """
    labels = [one if isinstance(one, Mapping) else {"name": one} for one in issue["labels"]]
    return next((one for one in labels if same(one["name"], name)), {"name": name})


def found_id(repository: str, number: int, event: Mapping[str, Any]) -> str:
    """The id of the delivery that should have come: the same, however often it is found.

    >>> found_id("o/r", 7, {"id": 11})
    'state:o:r:7:11'
    """
    owner, _, name = repository.partition("/")
    return f"state:{owner}:{name}:{number}:{event['id']}"


def unnotified(
    active: Mapping[str, datetime],
    firing: Collection[str],
    earliest: datetime,
    latest: datetime,
) -> list[str]:
    """Alerts that fire, by name with their starts, of which no notification has come.

    One that has begun after `latest` may be notified of yet; before `earliest` is none of ours.

    >>> day = [datetime(2026, 1, day) for day in range(1, 6)]
    >>> unnotified({"a": day[0], "b": day[1], "c": day[2], "d": day[4]}, ["c"], day[1], day[3])
    ['b']
    """
    return [
        name for name, began in active.items() if name not in firing and earliest <= began <= latest
    ]


def ended(
    firing: Collection[str], present: Collection[str], known: Mapping[str, str], now: str
) -> dict[str, str]:
    """Alerts that fired by notification and are gone, each with when that was first seen.

    >>> ended(["a", "b", "c"], ["a"], {"b": "earlier", "a": "before it fired again"}, "now")
    {'b': 'earlier', 'c': 'now'}
    """
    return {name: known.get(name, now) for name in firing if name not in present}
