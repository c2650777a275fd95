"""Which requests are due, of those that wait in their order, and why the others wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from functions.job_launcher.decide.budget import GroupBudget, Unit


@dataclass(frozen=True)
class QueuedRequest:
    """A row of the queue; `reason` is why it waits until `not_before`."""

    job_id: str
    group: str
    group_limit: int | None
    not_before: datetime | None = None
    reason: str = ""


@dataclass(frozen=True)
class QueueDecision:
    """The names of the Jobs that are due, why each of the others waits, and what those that are due
    may use of their group's budget."""

    due: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    grants: dict[str, Mapping[Unit, float]] = field(default_factory=dict)


def decide_queue(
    queued: Sequence[QueuedRequest],
    active: Mapping[str, int],
    limit: int,
    now: datetime,
    *,
    group_limit: int | None = None,
    budgets: Mapping[str, GroupBudget] | None = None,
) -> QueueDecision:
    """Return which queued requests, oldest first, the limits allow.

    `active` counts the active Jobs of each group; `group_limit` holds for requests without a limit
    of their own; `budgets` are those of groups. A request that waits for a time blocks its own
    group only.

    >>> first, second = (QueuedRequest(name, "repo", 1) for name in "ab")
    >>> decide_queue([first, second], {}, 10, datetime(2026, 1, 1))
    QueueDecision(due=['a'], reasons={'b': '1 of 1 jobs of group repo are active'}, grants={})
    """
    left = dict(budgets or {})
    decision = QueueDecision()
    counts = Counter(dict(active))
    total = sum(counts.values())
    blocked_by: dict[str, str] = {}
    for request in queued:
        name, group = request.job_id, request.group
        max_of_group = request.group_limit if request.group_limit is not None else group_limit
        if group in left and left[group].is_used_up():
            decision.reasons[name] = left[group].reason()
        elif group and group in blocked_by:
            decision.reasons[name] = f"behind {blocked_by[group]} of group {group}"
        elif request.not_before is not None and request.not_before > now:
            decision.reasons[name] = request.reason
            blocked_by[group] = name
        elif group and max_of_group is not None and counts[group] >= max_of_group:
            active_of_group = f"{counts[group]} of {max_of_group}"
            decision.reasons[name] = f"{active_of_group} jobs of group {group} are active"
        elif total >= limit:
            decision.reasons[name] = f"{total} of {limit} jobs are active"
        elif group in left and (reason := left[group].reason()):
            decision.reasons[name] = reason
        else:
            decision.due.append(name)
            if group in left:
                places = limit - total
                if max_of_group is not None:
                    places = min(places, max_of_group - counts[group])
                granted = left[group].grant(places)
                decision.grants[name] = granted
                left[group] = left[group].reserving(granted)
            counts[group] += 1
            total += 1
    return decision
