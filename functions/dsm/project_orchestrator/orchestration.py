"""Look at a project, decide what is due, record the decision, act on it.

A decision is recorded before anything is done, and each call that acts on it has a key made of the
request's: a repeat, after whatever death, acts on the recorded decision and doubles nothing. Where
the caller repeats nothing a relay does (`outgoing`). A decision that the world has overtaken
(`Conflict`, so nothing was done) is made anew.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, Field, field_validator

from functions.cron import Cron, CronError
from functions.dsm.project_orchestrator import audit, decide, outgoing, schedules, tables
from functions.dsm_client import dsm
from functions.events.sprint import TaskSummary
from functions.kit.clients import derived_key, path
from functions.kit.context import Context
from functions.kit.contract import Text
from functions.kit.durable.locks import ORCHESTRATION
from functions.kit.errors import Conflict, NotFound, PermanentError

Row = dict[str, Any]

_ATTEMPTS = 3
_NO_TASKS = TaskSummary(total_tasks=0, completed_tasks=0, pending_tasks=0)


class Options(BaseModel):
    """What the caller wants; those that the original never reads are accepted and not used."""

    create_sprint_if_needed: bool = True
    assign_tasks: bool = True
    create_cronjob: bool = True
    schedule: Text = "0 14 * * 1-5"
    sprint_duration_weeks: int = Field(2, ge=1, le=520)
    max_tasks_per_sprint: int = Field(10, ge=1, le=10_000)
    enable_pattern_recognition: bool = True

    @field_validator("schedule")
    @classmethod
    def _is_cron(cls, schedule: str) -> str:
        if len(schedule.split()) != 5:
            raise ValueError("must be a cron expression with 5 fields, like '0 14 * * 1-5'")
        try:
            Cron(schedule)
        except CronError as error:
            raise ValueError(f"is no cron expression: {error}") from None
        return schedule


async def orchestrate(ctx: Context, project_id: str, options: Options, request: str) -> Row:
    """Do what is due for a project, once for each `request`."""
    async with ctx.alone(ORCHESTRATION, project_id):
        async with ctx.store.connection() as connection:
            request = await tables.as_kept(connection, project_id, request)
        try:
            return await _orchestrate(ctx, project_id, options, request)
        except PermanentError:
            async with ctx.store.transaction() as tx:
                await outgoing.is_done(tx, project_id, request)
            raise


async def _orchestrate(ctx: Context, project_id: str, options: Options, request: str) -> Row:
    began = time.perf_counter()
    for attempt in range(1, _ATTEMPTS + 1):
        async with ctx.store.connection() as connection:
            found = await tables.decision(connection, project_id, request, attempt)
        if found is None:
            found = await _decide(ctx, project_id, options)
            async with ctx.store.transaction() as tx:
                await tables.record(tx, project_id, request, attempt, found)
                if attempt == 1 and (found["action"] != "nothing" or found["outdated"]):
                    asked = options.model_dump(mode="json")
                    await outgoing.is_begun(tx, ctx, project_id, request, asked)
        try:
            answer = await _act(
                *(ctx, project_id, options, request, found),
                derived_key(project_id, request, str(attempt)),
            )
        except Conflict:
            if attempt == _ATTEMPTS:
                raise
            continue
        took_ms = round((time.perf_counter() - began) * 1000, 1)
        return answer | {"performance_metrics": {"total_ms": took_ms}}
    raise AssertionError("unreachable: the last attempt answers or raises")


async def analyse(ctx: Context, project_id: str, weeks: int) -> tuple[decide.Situation, Row]:
    """What the services answer: the situation to decide on, and what is reported besides."""
    try:
        project = await dsm(ctx).projects.get(path("projects", project_id), Row)
    except NotFound:
        raise NotFound(f"Project {project_id} not found") from None
    today = ctx.now().date()
    at = path("projects", project_id, "availability", "check")
    team, availability, backlog, sprint, scheduled = await asyncio.gather(
        dsm(ctx).projects.team(project_id),
        dsm(ctx).projects.get(
            at,
            Row,
            start_date=today.isoformat(),
            end_date=(today + timedelta(weeks=weeks)).isoformat(),
        ),
        dsm(ctx).backlogs.get(path("backlogs", project_id, "summary"), Row),
        dsm(ctx).sprints.active(project_id),
        schedules.names(ctx, project_id),
    )
    sprint_id = None if sprint is None else sprint.sprint_id
    own = () if sprint_id is None else decide.schedule_names(project_id, sprint_id)
    summary = _NO_TASKS if sprint_id is None else await dsm(ctx).sprints.summary(sprint_id)
    situation = decide.Situation(
        unassigned=backlog["unassigned_for_sprint_count"],
        sprint_id=sprint_id,
        total=summary.total_tasks,
        completed=summary.completed_tasks,
        schedules=scheduled,
        scheduled=None if scheduled is None else not {*own}.isdisjoint(scheduled),
    )
    return situation, {
        "project_name": project["name"],
        "backlog_tasks": backlog["total_tasks"],
        "unassigned_tasks": situation.unassigned,
        "active_sprints": 0 if sprint_id is None else 1,
        "team_size": len(team),
        "team_availability": availability,
        "historical_context": None,
    }


async def _decide(ctx: Context, project_id: str, options: Options) -> Row:
    situation, analysis = await analyse(ctx, project_id, options.sprint_duration_weeks)
    wanted = decide.Options(options.create_sprint_if_needed, options.create_cronjob)
    action, why = decide.due(situation, wanted)
    warnings = decide.absences(analysis["team_availability"]["conflicts"])
    if situation.schedules is None:
        warnings.append("Kubernetes did not say which CronJobs the project has")
    return {
        "action": action,
        "outdated": decide.outdated(action, situation, project_id),
        "decided_at": ctx.now().isoformat(),
        "reasoning": why,
        "situation": asdict(situation),
        "analysis": analysis,
        "warnings": warnings,
        "sprint_name": f"{analysis['project_name']}, sprint of {ctx.now().date().isoformat()}",
        "options": options.model_dump(),
    }


async def _act(
    ctx: Context, project_id: str, options: Options, request: str, decision: Row, key: str
) -> Row:
    action, sprint_id = decision["action"], decision["situation"]["sprint_id"]
    actions: list[str] = []
    warnings = list(decision["warnings"])
    assigned, cronjob = 0, None
    if action == "close":
        at = path("sprints", sprint_id, "close")
        closed = await dsm(ctx).sprints.post(at, Row, key=key)
        warnings += closed.get("warnings", [])
        actions += [f"Closed sprint {sprint_id}", f"Generated retrospective report for {sprint_id}"]
    if action == "create":
        body = {
            "sprint_name": decision["sprint_name"],
            "duration_weeks": options.sprint_duration_weeks,
            "max_tasks_per_sprint": options.max_tasks_per_sprint,
        }
        made = await dsm(ctx).sprints.post(path("sprints", project_id), Row, key=key, body=body)
        sprint_id, assigned = made["sprint_id"], made["assigned_tasks_count"]
        warnings += made.get("warnings", [])
        actions += [f"Created new sprint {sprint_id}", f"Assigned {assigned} tasks to sprint"]
    if action == "recreate" or (action == "create" and options.create_cronjob):
        problem = await schedules.create(ctx, project_id, sprint_id, options.schedule)
        name = decide.schedule_name(project_id, sprint_id)
        if problem is None:
            cronjob = name
            actions.append(f"Created cronjob {name}")
        else:
            warnings.append(f"Failed to create cronjob for sprint {sprint_id}: {problem}")
    deleted = False
    for name in decision["outdated"]:
        problem = await schedules.delete(ctx, project_id, name)
        if problem is None:
            deleted = True
            actions.append(f"Deleted cronjob {name}")
        else:
            warnings.append(f"Failed to delete cronjob {name}: {problem}")
    answer = _answer(project_id, decision, sprint_id, actions, warnings)
    answer["decisions"] |= {
        "tasks_to_assign": assigned,
        "cronjob_created": cronjob is not None,
        "cronjob_deleted": deleted,
    }
    answer["cronjob_name"] = cronjob
    if actions:
        warnings += await audit.record(ctx, project_id, request, sprint_id, decision, key)
    else:
        async with ctx.store.transaction() as tx:
            await outgoing.is_done(tx, project_id, request)
    return answer


def _answer(
    project_id: str, decision: Row, sprint_id: str | None, actions: list[str], warnings: list[str]
) -> Row:
    action = decision["action"]
    return {
        "project_id": project_id,
        "analysis": decision["analysis"],
        "decisions": {
            "create_new_sprint": action == "create",
            "reasoning": decision["reasoning"],
            "warnings": warnings,
            "sprint_closure_triggered": action == "close",
            "sprint_name": decision["sprint_name"] if action == "create" else None,
            "sprint_id_to_close": sprint_id if action == "close" else None,
            "sprint_id": sprint_id,
            "sprint_duration_weeks": decision["options"]["sprint_duration_weeks"],
            "decision_source": "rule_based_only",
            "rule_based_decision": action,
            "intelligence_adjustments": {},
            "confidence_scores": {},
            "intelligence_metadata": {},
        },
        "actions_taken": actions,
        "sprint_id": sprint_id,
        "intelligence_metadata": {},
        "ai_agent_advisory": None,
    }
