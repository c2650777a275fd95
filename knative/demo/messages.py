"""One line of text for an event, and for a delivery that did not succeed at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Data = Mapping[str, Any]

# Too frequent to print. A tick that the demo fires is printed by it, no sweep's beside.
HIDDEN_TYPES = {
    "dev.knative.sources.ping",
    "io.dsm.schedule.due.v1",
    "io.dsm.task.updated.v1",
    "io.dsm.saga.registration.decided.v1",
    "io.dsm.saga.step.commanded.v1",
    "io.dsm.saga.run.ended.v1",
}


def line(event: Mapping[str, Any]) -> str | None:
    """Return one line for an event; None for a hidden type."""
    kind, data = event["attributes"]["type"], event.get("data")
    if kind in HIDDEN_TYPES:
        return None
    format_data = _MESSAGES.get(kind)
    if format_data is not None and isinstance(data, Mapping):
        return format_data(data)
    subject = event["attributes"].get("subject")
    return f"{kind}{f' of {subject}' if subject else ''}"


def trouble(change: Mapping[str, Any]) -> str | None:
    """Return one line for a delivery that did not succeed at once; None for the others."""
    if change.get("delivery") is None or change["state"] == "delivered":
        return None
    trigger = str(change["trigger"]).partition("/")[2]
    reason = change.get("reason") or f"status {change.get('status')}"
    if change["state"] == "pending":
        return f"{trigger} will be tried again: {reason}"
    return f"{trigger} is given up ({change['state']}): {reason}"


def _reported(data: Data) -> str:
    rows = data["sprints"]
    counts = {state: sum(row["state"] == state for row in rows) for state in _STATES}
    parts = [f"{count} {_STATES[state]}" for state, count in counts.items() if count]
    return f"sprint-report measured {len(rows)} projects: {', '.join(parts)}"


_STATES = {
    "complete": "complete",
    "active": "under way",
    "no-sprint": "without a sprint",
    "error": "could not be read",
}


def _cycled(data: Data) -> str:
    closed, new = data["closed_sprint_id"], data["new_sprint_id"]
    return (
        f"cycle-trigger ran the next cycle of {data['project_id']}: "
        f"closed {closed or 'nothing'}, started {new or 'nothing'} in {data['took_ms']:.0f} ms"
    )


def _simulated(data: Data) -> str:
    moved = len(data["moved"])
    return f"scrum-simulate moved {moved} tasks of {data['sprint_id']} on {data['scrum_date']}"


def _filed(data: Data) -> str:
    done = f"{data['completed_tasks']} of {data['total_tasks']} tasks are done"
    return f"scrum-report filed note {data['note_id']} for {data['sprint_id']}: {done}"


def _undelivered(data: Data) -> str:
    """Return why nothing came of an agent's work.

    >>> _undelivered({"task_id": "a/b#1", "reason": "nothing_to_do", "details": ["It is right."]})
    'agent-outputs applied nothing for a/b#1 (nothing to do): It is right.'
    """
    why = "; ".join(data["details"]) or data.get("summary", "")
    reason = data["reason"].replace("_", " ")
    return f"agent-outputs applied nothing for {data['task_id']} ({reason}){why and f': {why}'}"


_MESSAGES: dict[str, Callable[[Data], str]] = {
    "io.dsm.sprints.reported.v1": _reported,
    "io.dsm.sprint.completed.v1": lambda d: f"{d['sprint_id']} is complete: its next cycle is due",
    "io.dsm.cycle.completed.v1": _cycled,
    "io.dsm.sprint.simulated.v1": _simulated,
    "io.dsm.scrum.reported.v1": _filed,
    "io.dsm.saga.step.answered.v1": lambda d: (
        f"{d.get('workerName') or 'a worker'}: {d['action']} {d['stepName']}, "
        f"{d['metadata']['status'].lower()}"
    ),
    "io.dsm.sprint.started.v1": lambda d: f"sprint-service started {d['sprint_id']}",
    "com.github.issue.labeled": lambda d: (
        f"webhook-receiver: issue {d['issue']['number']} got the label {d['label']['name']}"
    ),
    "io.dsm.job.queued.v1": lambda d: f"job-launcher queued {d['job_id']} for {d['task_id']}",
    "io.dsm.job.started.v1": lambda d: f"{d['job_id']} has started",
    "io.dsm.job.succeeded.v1": lambda d: f"{d['job_id']} has ended",
    "io.dsm.job.recorded.v1": lambda d: f"{d['job_id']} was recorded only: it did not run here",
    "io.dsm.job.failed.v1": lambda d: f"{d['job_id']} has failed: {d['reason']}",
    "io.dsm.job.cancelled.v1": lambda d: f"{d['job_id']} was cancelled: {d['reason']}",
    "io.dsm.agent.delivered.v1": lambda d: f"agent-outputs applied the work on {d['task_id']}",
    "io.dsm.agent.undelivered.v1": _undelivered,
    "io.dsm.backlog.seeded.v1": lambda d: (
        f"backlog-setup: {d['project_id']} has {d['tasks_count']} tasks, {d['created']} of them new"
    ),
}
