"""What a comment says of approvals: what is asked, and what users have decided. Pure.

`known` has, by stage, the data of the request and of the decision, in whatever order they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, get_args

from functions.agent_status.markdown import line, time
from functions.events.approval import ChangedFile, Stage, describe

Known = Mapping[str, Mapping[str, Any]]

MAX_FILES = 20
HEADLINES = {
    "start": "An agent waits for approval before it starts.",
    "outputs": "The agent has ended; what it has made waits for approval.",
}
_ADVICE = "Comment `/agent approve`, or `/agent reject` and why; that takes write access"


def awaited(known: Known, ended: Mapping[str, bool]) -> Stage | None:
    """Return the stage that waits for a user, unless it has `ended` otherwise."""
    for stage in get_args(Stage):
        one = known.get(stage) or {}
        if "expires_at" in one and "decision" not in one and not ended[stage]:
            found: Stage = stage
            return found
    return None


def lines(known: Known, awaits: Stage | None) -> list[str]:
    """Return the decisions, and what is asked where something waits."""
    made = [one for one in known.values() if one.get("decision") == "approved"]
    found = [line(describe("approved", one["by"], one["reason"])) for one in made]
    shown = ["", *(f"{one[0].upper()}{one[1:]}." for one in found)] if found else []
    return shown if awaits is None else [*shown, *_asked(awaits, known[awaits])]


def _asked(stage: Stage, one: Mapping[str, Any]) -> list[str]:
    """Return what a user is asked to approve: what the agent wants done, and the diffstat."""
    found = [] if stage == "start" else ["", "It asks for:", ""]
    found += [f"- {line(want)}" for want in one["wants"]]
    if files := [ChangedFile(**file) for file in one["files"]]:
        added, deleted = (
            sum(getattr(file, name) or 0 for file in files) for name in ("additions", "deletions")
        )
        size = f"{one['commits']} commit(s) to {one['file_count']} file(s), +{added} -{deleted}:"
        found += ["", size, "", "| File | + | - |", "|---|---|---|"]
        found += [
            f"| `{line(file.path)}` | {_count(file.additions)} | {_count(file.deletions)} |"
            for file in files[:MAX_FILES]
        ]
        if (more := one["file_count"] - len(files[:MAX_FILES])) > 0:
            found += ["", f"and {more} more"]
    until = time(datetime.fromisoformat(one["expires_at"]))
    return [*found, "", f"{_ADVICE}. Without an answer it ends at {until}."]


def _count(lines: int | None) -> str:
    return "binary" if lines is None else str(lines)
