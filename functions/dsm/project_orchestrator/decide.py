"""What is due for a project. Pure: the analysis is handed in, a decision comes out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Action = Literal["close", "create", "recreate", "nothing"]

PROJECT = "dsm.io/project"
FAMILY = "run-dailyscrum"  # of the schedules of sprints
IDLE = "No specific actions required based on current state and options."


@dataclass(frozen=True)
class Situation:
    """What the services say about a project.

    `schedules`: the names of its PingSources, None when Kubernetes cannot say; `scheduled`: is its
    sprint's among them?
    """

    unassigned: int
    sprint_id: str | None = None
    total: int = 0
    completed: int = 0
    schedules: Sequence[str] | None = None
    scheduled: bool | None = None


@dataclass(frozen=True)
class Options:
    """What the caller wants done."""

    create_sprint: bool = True
    create_schedule: bool = True


def due(found: Situation, options: Options) -> tuple[Action, str]:
    """What to do, and why.

    >>> due(Situation(unassigned=10), Options())
    ('create', 'No active sprint, and 10 unassigned tasks wait in the backlog.')
    >>> due(Situation(0, "S", total=200, completed=199, scheduled=True), Options())[0]
    'nothing'
    >>> due(Situation(0, "S", total=200, completed=200), Options())[0]
    'close'
    """
    if found.sprint_id is not None:
        if found.total > 0 and found.completed == found.total:
            return "close", f"All {found.total} tasks of sprint {found.sprint_id} are completed."
        if found.scheduled is False and options.create_schedule:
            return "recreate", f"Active sprint {found.sprint_id} has no CronJob."
        has = "with an existing CronJob" if found.scheduled else "without a CronJob"
        return "nothing", f"Active sprint {found.sprint_id} found {has}. No action needed."
    if options.create_sprint and found.unassigned > 0:
        waiting = f"{found.unassigned} unassigned tasks wait in the backlog."
        return "create", f"No active sprint, and {waiting}"
    return "nothing", IDLE


def outdated(action: Action, found: Situation, project_id: str) -> list[str]:
    """The schedules to delete: those of sprints that are over, or are over now.

    >>> outdated("nothing", Situation(0, "P-S02", schedules=["run-dailyscrum-p-p-s01",
    ...     "run-dailyscrum-p-p-s02"]), "P")
    ['run-dailyscrum-p-p-s01']
    """
    own = () if found.sprint_id is None else schedule_names(project_id, found.sprint_id)
    if action == "close":
        return sorted(own[:1] if found.schedules is None else found.schedules)
    return sorted({*(found.schedules or ())} - {*own})


def label(project_id: str) -> str:
    """A project's id as a label's value may be.

    >>> label("GEM-001"), len(label("x" * 200))
    ('GEM-001', 63)
    """
    name = re.sub(r"[^A-Za-z0-9-]+", "-", project_id).strip("-")
    if name == project_id and len(name) <= 63:
        return name
    digest = hashlib.sha256(project_id.encode()).hexdigest()[:8]
    return f"{name[:54]}-{digest}".lstrip("-")


def schedule_names(project_id: str, sprint_id: str) -> tuple[str, ...]:
    """The name of a sprint's PingSource, and the one that an earlier release gave it."""
    name = schedule_name(project_id, sprint_id)
    return name, schedule_name(project_id, sprint_id, like_capitals=True)


def schedule_name(project_id: str, sprint_id: str, *, like_capitals: bool = False) -> str:
    """The name of a sprint's PingSource: as Kubernetes takes it, whatever the ids hold.

    >>> schedule_name("GEM-001", "GEM-001-S01")
    'run-dailyscrum-gem-001-gem-001-s01'
    >>> schedule_name("A_b", "A_b-S01") != schedule_name("A.b", "A.b-S01")
    True
    >>> schedule_name("gem-001", "gem-001-S01")
    'run-dailyscrum-gem-001-gem-001-s01-7f807ace'
    >>> len(schedule_name("x" * 200, "x" * 200 + "-S01"))
    63
    """
    plain = f"{FAMILY}-{project_id}-{sprint_id}".lower()
    name = re.sub(r"[^a-z0-9-]+", "-", plain).rstrip("-")
    # The dispatcher puts names into labels, so 63 characters; a digest keeps shortened names apart,
    # and ids apart that differ in case alone.
    in_capitals = re.fullmatch(r"[A-Z0-9-]*", project_id + sprint_id)
    if name == plain and len(name) <= 63 and (in_capitals or like_capitals):
        return name
    digest = hashlib.sha256(f"{project_id}/{sprint_id}".encode()).hexdigest()[:8]
    return f"{name[:54].rstrip('-')}-{digest}"


# Each day that was missed is simulated, for three days and one after the other.
POLICY = {
    "schedules.dsm.io/missed": "all",
    "schedules.dsm.io/missed-window": "3d",
    "schedules.dsm.io/overlap": "queue-all",
}


def schedule_manifest(
    project_id: str, sprint_id: str, schedule: str, broker: str
) -> dict[str, Any]:
    """The PingSource that asks for a sprint's daily scrum."""
    name = schedule_name(project_id, sprint_id)
    return {
        "apiVersion": "sources.knative.dev/v1",
        "kind": "PingSource",
        "metadata": {
            "name": name,
            "labels": {
                "app.kubernetes.io/managed-by": "project-orchestrator",
                "app.kubernetes.io/part-of": "dsm",
                PROJECT: label(project_id),
            },
            "annotations": {PROJECT: project_id, "dsm.io/sprint": sprint_id, **POLICY},
        },
        "spec": {
            "schedule": schedule,
            "timezone": "Etc/UTC",
            "contentType": "application/json",
            "data": json.dumps({"project_id": project_id, "sprint_id": sprint_id}),
            # A broker that cannot look for a beginning finds all of them by the family.
            "ceOverrides": {"extensions": {"schedule": name, "family": FAMILY}},
            "sink": {
                "ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": broker}
            },
        },
    }


def absences(conflicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Holidays and leave during a sprint, as warnings.

    >>> absences([{"type": "holiday", "date": "2026-12-25", "name": "Christmas Day"}])
    ['holiday on 2026-12-25: Christmas Day']
    """
    return [f"{c['type']} on {c['date']}: {c['name']}" for c in conflicts[:50]]
