"""Jobs: queued, running, done; why one waits; its log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.job_outputs import outputs_of
from functions.console.pages import Page, endpoint
from functions.console.panels import Panel, Query
from functions.console.rendering import View, done, render
from functions.kit.clients import path
from functions.kit.errors import Conflict

FUNCTION = "job-launcher"
FILTERS = ("state", "group", "task", "service", "approval")
ENDED = ("succeeded", "recorded", "failed", "cancelled")
PAGE = 25
LAST_LINES = 400
# A Job that ended well has not succeeded by that: what counts is what came of it.
_OUTCOMES = {
    "delivered": "delivered",
    "undelivered": "undelivered",
    "pending": "applying",
    "recorded": "recorded only",  # the local Knative cannot run every image
    "completed": "ended",
}
_MESSAGES = {
    "applying": "its agent has ended, and agent-outputs has not reported yet what comes of it",
    "recorded only": "this Job did not run here",
    "ended": "exit code 0, with nothing to show: its route takes no outputs",
}
# What waits for a user, and what its approval does.
WAITS = "needs approval"
APPROVALS = {
    "start": "It starts as soon as there is room.",
    "outputs": "What its agent has made is applied on GitHub.",
}


async def listed(ask: Ask, query: Query) -> Mapping[str, Any]:
    wanted = {name: query[name] for name in FILTERS if query.get(name)}
    answer = await ask.function(FUNCTION).read(
        "/jobs", **wanted, limit=PAGE, cursor=query.get("before")
    )
    for job in answer["jobs"]:
        job["shown"] = state_of(job)
    older = urlencode({**wanted, "before": answer["next"]}) if answer["next"] else ""
    newest = "before" not in query
    return {"jobs": answer["jobs"], "older": older, "newest": newest, "wanted": wanted} | {
        "ended": not newest,
        "total": answer["total"],
        "end_states": ENDED,
    }


async def budgets(ask: Ask, query: Query) -> Mapping[str, Any]:
    """What each group with a budget has used of it today."""
    found: Mapping[str, Any] = await ask.function(FUNCTION).read("/budgets")
    return {"budgets": [{**row, "amounts": _amounts(row)} for row in found["budgets"]]}


def _amounts(row: Row) -> list[tuple[str, float, float]]:
    """Amount of limit in words, and both as numbers.

    >>> _amounts({"used": {"usd": 8.5}, "limits": {"usd": 10}})
    [('$8.50 of $10.00', 8.5, 10)]
    """
    return [
        (f"{_amount(unit, row['used'][unit])} of {_amount(unit, limit)}", row["used"][unit], limit)
        for unit, limit in row["limits"].items()
    ]


def _amount(unit: str, value: float) -> str:
    return f"${value:.2f}" if unit == "usd" else f"{value:,.0f} {unit}"


async def costs(ask: Ask, query: Query) -> Mapping[str, Any]:
    """What issues and tasks have cost, the dearest first."""
    found: Mapping[str, Any] = await ask.function(FUNCTION).read("/costs", days=30)
    rows = [{**row, "shown": _cost(row)} for row in found["costs"]]
    return {"costs": rows}


def _cost(row: Row) -> str:
    """What is known of a cost: an agent that reports nothing has cost something all the same.

    >>> _cost({"usd": 0.75, "tokens": 0, "reported": 1, "jobs": 2})
    '$0.75, of 1 of 2 Jobs'
    """
    if not row["reported"]:
        return "not reported"
    part = f", of {row['reported']} of {row['jobs']} Jobs" if row["reported"] < row["jobs"] else ""
    return f"${row['usd']:.2f}{part}"


async def one(ask: Ask, query: Query) -> Mapping[str, Any]:
    job = await read_job(ask, query["id"])
    job["shown"] = state_of(job)
    ended = job["state"] in ENDED
    return {
        "job": job,
        "ended": ended,
        "curl": _curl_of(job) if ended and not job.get("approval") else "",
        "message": _MESSAGES.get(job["shown"], ""),
    }


def _curl_of(job: Row) -> str:
    """A command that retries it; it takes the launcher's URL from JOB_LAUNCHER_URL."""
    return f'curl -X POST "$JOB_LAUNCHER_URL{path("jobs", job["job_id"])}/retry"'


def state_of(job: Row) -> str:
    """A Job's outcome, or its state as long as nothing came of it.

    >>> state_of({"state": "recorded", "outcome": "recorded"})
    'recorded only'
    >>> state_of({"state": "succeeded", "outcome": "completed"})
    'ended'
    >>> state_of({"state": "failed", "outcome": "undelivered", "result": {"reason": "lost"}})
    'failed'
    >>> state_of({"state": "succeeded", "outcome": "pending", "approval": "outputs"})
    'needs approval'
    >>> state_of({"state": "succeeded", "result": {"reason": "nothing_to_do"}})
    'nothing to do'
    """
    if job.get("approval"):
        return WAITS
    if (job.get("result") or {}).get("reason") == "nothing_to_do":
        return "nothing to do"
    outcome = job.get("outcome")
    if outcome == "delivered" or job["state"] in ("succeeded", "recorded"):
        return _OUTCOMES.get(str(outcome), str(job["state"]))
    return str(job["state"])


async def log(ask: Ask, query: Query) -> Mapping[str, Any]:
    """What the Job says; asked for again and again while it runs."""
    ended = (await read_job(ask, query["id"]))["state"] in ENDED
    try:
        text = await ask.function(FUNCTION).text(
            f"{path('jobs', query['id'])}/logs", tail=LAST_LINES
        )
    except Conflict as error:
        return {"text": "", "why": error.detail, "ended": ended}
    return {"text": text, "why": "", "ended": ended}


async def _task(ask: Ask, query: Query) -> str:
    task: str = (await read_job(ask, query["id"]))["task_id"]
    return task


async def read_job(ask: Ask, id: str) -> Row:
    found: Row = await ask.function(FUNCTION).read(path("jobs", id))
    return found


async def confirm(view: View) -> Response:
    text = "Its pod gets the time that it has to end; what it has done stays done."
    return await _confirm(view, "Stop", text, "cancel")


async def cancel(view: View) -> Response:
    return await _act(view, "cancel", "It was asked to stop.", "busy")


async def confirm_retry(view: View) -> Response:
    text = "A new Job goes on from what this one has left, and costs again."
    return await _confirm(view, "Retry", text, "retry")


async def retry(view: View) -> Response:
    return await _act(view, "retry", "It was asked for once more.")


async def _confirm(view: View, verb: str, text: str, word: str) -> Response:
    job = await read_job(view.ask, view.query["id"])
    at = path("jobs", job["job_id"])
    values = {
        "title": f"{verb} {job['job_id']}?",
        "text": text,
        "facts": {"task": job["task_id"], "service": job["service"], "state": state_of(job)},
        "fields": {},
        "action": f"{at}/{word}",
        "button": f"{verb} it",
        "style": "primary danger" if word == "cancel" else "primary",
        "back": at,
    }
    return render(view, "confirm.html", values)


async def _act(view: View, word: str, notice: str, tone: str = "good") -> Response:
    """Have job-launcher do it, with the form's reason."""
    form, who = await view.authentication.act()
    at = path("jobs", view.query["id"])
    reason = urlencode({"reason": form["reason"]})
    await view.ask.function(FUNCTION).act(f"{at}/{word}?{reason}", who)
    return done(view, at, notice, tone)


DECISIONS = {"approve": "Approve", "reject": "Reject"}


async def confirm_decision(view: View) -> Response:
    """Asks for the reason, and shows what the agent has made."""
    job, word = await read_job(view.ask, view.query["id"]), _word(view)
    at, before = path("jobs", job["job_id"]), job.get("approval")
    if not before:
        raise Conflict(f"Job {job['job_id']} waits for no approval: it is {state_of(job)}.")
    made = job["approval_details"]
    files = [_diffstat(one) for one in made.get("files", ())]
    facts = {"task": job["task_id"], "service": job["service"], "before": before}
    if before == "outputs":
        asks, changes = "; ".join(made["wants"]), f"{made['commits']} in {made['file_count']} files"
        facts |= {"asks for": asks, "commits": changes}
    never = "It never starts." if before == "start" else "Nothing is applied; its commits are kept."
    values = {
        "title": f"{DECISIONS[word]} {job['job_id']}?",
        "text": APPROVALS[before] if word == "approve" else never,
        "facts": facts,
        "items": files,
        "fields": {},
        "action": f"{at}/{word}",
        "button": DECISIONS[word],
        "back": at,
    }
    return render(view, "confirm.html", values)


def _diffstat(file: Row) -> str:
    """A file with its lines.

    >>> _diffstat({"path": "a.py", "additions": 3, "deletions": 1}), _diffstat({"path": "logo.png"})
    ('a.py +3 -1', 'logo.png binary')
    """
    if file.get("additions") is None:
        return f"{file['path']} binary"
    return f"{file['path']} +{file['additions']} -{file['deletions']}"


async def decide(view: View) -> Response:
    word = _word(view)
    return await _act(view, word, "It was approved." if word == "approve" else "It was rejected.")


def _word(view: View) -> str:
    return view.request.url.path.rpartition("/")[2]


def routes() -> list[Route]:
    return [
        *Page(
            "/jobs",
            "Jobs",
            [Panel("jobs", "Newest first", listed, live_s=5)],
            head="heads/jobs.html",
        ).routes(),
        *Page(
            "/jobs/{id}",
            "{id}",
            [
                Panel("job", "Status", one, live_s=5),
                Panel("outputs", "What its agent left", outputs_of, live_s=5),
                Panel("log", "Log", log, live_s=2),
            ],
            parent=("/jobs", "Jobs"),
            exists=_task,
        ).routes(),
        endpoint("/jobs/{id}/cancel", confirm),
        endpoint("/jobs/{id}/cancel", cancel, ["POST"]),
        endpoint("/jobs/{id}/retry", confirm_retry),
        endpoint("/jobs/{id}/retry", retry, ["POST"]),
        *(endpoint(f"/jobs/{{id}}/{word}", confirm_decision) for word in DECISIONS),
        *(endpoint(f"/jobs/{{id}}/{word}", decide, ["POST"]) for word in DECISIONS),
    ]
