"""The messages about how a comparison ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from functions.webhook_receiver.senders.issue_state import PULL_REQUEST

NOT_ASKED = (
    "Deliveries that GitHub lost cannot be found: there are no credentials for GitHub. Set "
    "GITHUB_HOOKS, and GITHUB_APP_ID with GITHUB_APP_PRIVATE_KEY or GITHUB_TOKEN; README of "
    "webhook-receiver, section Lost deliveries, has the steps."
)
NO_NAMES = (
    "Deliveries that GitHub lost cannot be found: no hook and no repository is named. Set "
    "GITHUB_HOOKS and GITHUB_REPOSITORIES; README of webhook-receiver, section Lost deliveries, "
    "has the steps."
)
NO_REPOSITORY = (
    "What GitHub never tried to deliver cannot be found: no repository is named. Set "
    "GITHUB_REPOSITORIES."
)
NO_HOOK = "Deliveries that GitHub lost cannot be found: no hook is named. Set GITHUB_HOOKS."
NOT_YET = "Not compared yet."
_STATES = {
    "unwanted": "{} of types without a consumer",
    "missing": "{} missing",
    "refused": "{} refused",
    "gone": "{} gone for good",
}


def of_hook(counts: Mapping[str, int], until: str = "", problem: str | None = None) -> str:
    """What became of a day's deliveries; `until` when the first missing one can be had.

    `problem` is why the last comparison did not come to its end.

    >>> of_hook({"made": 214, "here": 210, "fetched": 4})
    'GitHub made 214 in the last day, 214 are here.'
    >>> of_hook({"made": 9, "here": 6, "unwanted": 1, "missing": 2}, "2026-03-05 14:00 UTC")
    'GitHub made 9 in the last day, 6 are here; 1 of types without a consumer; 2 missing, which \
can be had until 2026-03-05 14:00 UTC.'
    """
    here = counts.get("here", 0) + counts.get("fetched", 0)
    parts = [f"GitHub made {counts.get('made', 0)} in the last day, {here} are here"]
    for state, template in _STATES.items():
        if number := counts.get(state, 0):
            later = f", which can be had until {until}" if state == "missing" and until else ""
            parts.append(template.format(number) + later)
    return _up_to_date("; ".join(parts), problem)


def forgotten(since: str, until: str) -> str:
    """A time of which nothing can be known any more.

    >>> forgotten("2026-01-02T00:00:00+00:00", "2026-01-06T12:30:00+00:00")
    'From 2026-01-02 00:00 to 2026-01-06 12:30 UTC nothing was compared, and GitHub has \
forgotten it.'
    """
    return (
        f"From {_minute(since)} to {_minute(until)} UTC nothing was compared, and GitHub has "
        "forgotten it."
    )


def _minute(text: str) -> str:
    return text[:16].replace("T", " ")


def of_issues(memory: Mapping[str, Mapping[str, Any]], problem: str | None = None) -> str:
    """What became of the open issues with each label.

    >>> of_issues({"agent": {"made": 0}})
    'Each open issue labelled agent has its request.'
    >>> of_issues({"agent": {"made": 0, "kinds": ["com.github.pull_request.labeled"]}})
    'Each open issue or pull request labelled agent has its request.'
    """
    kinds = {kind for known in memory.values() for kind in known.get("kinds", ())}
    what = "issue or pull request" if PULL_REQUEST.type in kinds else "issue"
    parts = [f"Each open {what} labelled {' or '.join(memory)} has its request"]
    if made := sum(known["made"] for known in memory.values()):
        last = max(known["made_at"] for known in memory.values())
        parts.append(f"{made} had to be made, the last one {last}")
    return _up_to_date("; ".join(parts) if memory else "Not compared yet", problem)


def of_alerts(memory: Mapping[str, Any], problem: str | None = None) -> str:
    """What became of the alerts that Grafana has.

    >>> of_alerts({"firing": {"f": {}}, "made": 1, "made_at": "2026-03-02T14:00:00Z"})
    'Each alert has its notification, 1 fires; 1 had to be made, the last one 2026-03-02T14:00:00Z.'
    """
    if not memory:
        return _up_to_date("Not compared yet", problem)
    parts = [f"Each alert has its notification, {len(memory['firing'])} fires"]
    if made := memory["made"]:
        parts.append(f"{made} had to be made, the last one {memory['made_at']}")
    return _up_to_date("; ".join(parts), problem)


def _up_to_date(message: str, problem: str | None) -> str:
    return f"{message}. Not up to date: {problem.rstrip('.')}." if problem else f"{message}."
