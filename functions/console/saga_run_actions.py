"""What a user may do with a run, what each action does, and what is to be done first."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from functions.console.ask import Row
from functions.console.formatting import pretty
from functions.kit.clients import path

MAX_SHOWN = 20_000  # of a payload, in characters

SAME_PAYLOAD = (
    "The same payload goes to its services again: a run's payload cannot be edited. If it is what "
    "was refused, start another run with the right one in place of this retry."
)
REFUSED = (
    "A step's service refused this payload for good. A retry sends the same payload and will most "
    "likely fail again: start another run with the right one in place of it."
)
ENDED = ("COMPLETED", "FAILED", "UNDONE", "UNDO_FAILED", "CANCELLED")
UNDOABLE = ("COMPLETED", "FAILED")

# What each action is called and does. Undo has a plan that is shown first.
ACTIONS = {
    "undo": ("Undo", "Each finished step's service is asked to undo it; how, is its own."),
    "retry": ("Retry", "It goes on from where it failed, be it forward or back."),
    "pause": ("Pause", "Nothing new is sent until it is resumed; answers are still taken."),
    "resume": ("Resume", "It goes on from where it was paused."),
    "cancel": ("Cancel", "It stops, and what was done is undone."),
}

DANGEROUS = ("undo", "cancel")  # what was done is undone

_ADVICE = {
    "WAITING": "Start the service that is the worker of each step named above, or have it register "
    "for it; the run then goes on by itself.",
    "FAILED": "Mend what the reason names, then retry the run. Where that is its payload, start "
    "another run: a retry sends the same payload.",
    "UNDONE": "Mend what the reason names, then retry the run: what it had done is undone.",
    "UNDO_FAILED": "Mend the service whose step was not undone, then retry the run.",
}


def payload_of(found: Row) -> str:
    """A run's payload for reading: indented JSON, or bytes in base64; at most the beginning."""
    text = found["payload"] if found["payloadEncoding"] != "json" else pretty(found["payload"])
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}\N{HORIZONTAL ELLIPSIS}"


def curl_of(found: Row) -> str:
    """A command that begins such a run; none for a payload that is not JSON, or is long.

    It takes the orchestrator's URL from ORCHESTRATOR_URL.

    >>> run = {"orchName": "a b", "payloadEncoding": "json", "payload": {"n": 1}}
    >>> print(curl_of(run))
    curl --json '{"n": 1}' "$ORCHESTRATOR_URL/api/orchestration/execute/a%20b"
    >>> curl_of(run | {"payloadEncoding": "base64"})
    ''
    """
    body = json.dumps(found["payload"], ensure_ascii=False)
    if found["payloadEncoding"] != "json" or len(body) > MAX_SHOWN:
        return ""
    at = path("api", "orchestration", "execute", found["orchName"])
    return f'curl --json {shlex.quote(body)} "$ORCHESTRATOR_URL{at}"'


def is_refused(entries: Sequence[Row]) -> bool:
    """Whether a run's history ends with an error that its step's service called final."""
    ends = [one["detail"] for one in entries if one["eventType"] == "RETRY_EXHAUSTED"]
    return bool(ends) and str(ends[-1]).endswith("the error is final")


def can_start_another(found: Row) -> bool:
    """Whether a run's payload can be edited in a form."""
    return bool(curl_of(found))


def allowed(found: Row, *, undoes: bool) -> list[str]:
    """The actions that change something about a run; `undoes`: an undo would undo a step.

    >>> run = {"status": "FAILED", "pausedBy": None}
    >>> allowed(run, undoes=False), allowed(run, undoes=True)
    (['retry'], ['retry', 'undo'])
    """
    status = found["status"]
    if status not in ENDED:
        going = ["resume"] if found["pausedBy"] else ["pause"]
        return going if status == "UNDOING" else [*going, "cancel"]
    undo = ["undo"] if undoes else []
    return undo if status == "COMPLETED" else ["retry", *undo]


def advice(found: Row) -> str:
    """What to do about a run that waits or did not succeed; empty where a user has undone it.

    >>> advice({"status": "WAITING", "pausedBy": "alice"})
    'Resume the run once what it was paused for is settled.'
    >>> advice({"status": "UNDONE", "pausedBy": None, "cause": "UNDO"})
    ''
    """
    if found["pausedBy"]:
        return "Resume the run once what it was paused for is settled."
    if found["status"] == "UNDONE" and found["cause"] == "UNDO":
        return ""
    return _ADVICE.get(found["status"], "")
