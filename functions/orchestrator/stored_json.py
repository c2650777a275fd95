"""Rows and JSON <-> the frozen data that decisions are made on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from functions.kit.errors import PermanentError
from functions.orchestrator.decide.model import (
    Action,
    Call,
    CallOutcome,
    Cause,
    Definition,
    Retry,
    Run,
    RunStatus,
    Step,
    StepDef,
    StepStatus,
)

MAX_BYTES = 1 << 20
# Less, so that a worker whose result is too large still gets its answer into one event.
MAX_RESULT_BYTES = MAX_BYTES // 4 * 3
# What is nested deeper cannot be shown: Python and pydantic follow values by calling themselves.
MAX_NESTING = 100
# Made once: `json.dumps` with options makes another for each call.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
# PostgreSQL's text has no U+0000; an even number of backslashes before it would be text.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def storable(value: object, field: str, max_bytes: int = MAX_BYTES) -> str:
    """A value as JSON text that PostgreSQL takes; `PermanentError` names the field if it cannot."""
    try:
        text = _encode(value)
        size = len(text.encode())  # fails for half a surrogate pair, which is no text
    except (ValueError, RecursionError) as error:
        raise PermanentError(f"{field}: cannot be kept as JSON: {error}") from None
    if "\\u0000" in text and _NUL.search(text):
        raise PermanentError(f"{field}: must not contain the character U+0000")
    if size > max_bytes:
        raise PermanentError(f"{field}: has {size} bytes, the maximum is {max_bytes}")
    if _nested_deeper(value, MAX_NESTING):
        raise PermanentError(f"{field}: is nested deeper than {MAX_NESTING} levels")
    return text


def _nested_deeper(value: object, levels: int) -> bool:
    parts = [value]
    for _ in range(levels + 1):
        containers = [part for part in parts if isinstance(part, list | dict)]
        if not containers:
            return False
        parts = []
        for outer in containers:
            parts += outer.values() if isinstance(outer, dict) else outer
    return True


def definition_to_json(definition: Definition) -> dict[str, Any]:
    """A definition as it is kept."""
    return asdict(definition)


def definition_from_json(document: Mapping[str, Any]) -> Definition:
    """The inverse of `definition_to_json`."""
    steps = [
        StepDef(
            **{
                **step,
                "after": tuple(step["after"]),
                "retry": Retry(**{**step["retry"], "final": tuple(step["retry"]["final"])}),
            }
        )
        for step in document["steps"]
    ]
    return Definition(**{**document, "steps": tuple(steps)})


def run_from_row(row: Any, definition: Definition, steps: Mapping[str, Step]) -> Run:
    """A run as it was stored."""
    return Run(
        flow_id=str(row["flow_id"]),
        definition=definition,
        started_at=row["started_at"],
        steps=steps,
        status=RunStatus(row["status"]),
        since=row["since"],
        payload=row["payload"],
        payload_encoding=row["payload_encoding"],
        reason=row["reason"],
        cause=None if row["cause"] is None else Cause(row["cause"]),
        undo_to=row["undo_to"],
        paused_by=row["paused_by"],
        paused_at=row["paused_at"],
        deadline_at=row["deadline_at"],
        completed_at=row["completed_at"],
    )


def calls_to_json(calls: tuple[Call, ...]) -> list[list[Any]]:
    """A step's calls as they are kept."""
    return [[c.action, c.attempt, c.worker, c.outcome] for c in calls]


def calls_from_json(document: list[list[Any]]) -> tuple[Call, ...]:
    """The inverse of `calls_to_json`."""
    return tuple(
        Call(Action[action], attempt, worker, CallOutcome[outcome])
        for action, attempt, worker, outcome in document
    )


# A step's columns in the order of its fields.
STEP_COLUMNS = (
    *("status", "attempt", "base", "undo_attempt", "undo_base", "round", "round_base", "calls"),
    *("due_at", "worker_service", "result", "error_message", "started_at", "completed_at"),
    "undone_at",
)


def step_from_row(row: Sequence[Any]) -> Step:
    """A step as it was stored, of its `STEP_COLUMNS`."""
    return Step._make(row)._replace(status=StepStatus[row[0]], calls=calls_from_json(row[7]))
