"""The bodies that chronicle-service takes."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from functions.kit.contract import Id, Text

Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Percent = Annotated[int, Field(ge=0, le=100)]


class ReportedTask(BaseModel):
    """One task's day; `created_at` is the instant at which its progress was made."""

    id: Id
    yesterday_work: Text | None = None
    today_work: Text | None = None
    impediments: Text | None = None
    created_at: datetime
    title: Text | None = None
    status: Id | None = None
    progress_percentage: Percent | None = None


class ReportEntry(BaseModel):
    assigned_to: Id | None = None
    tasks: list[ReportedTask] = Field(max_length=10_000)


class SummaryMetrics(BaseModel):
    total_team_members: Count
    total_tasks: Count
    completed_tasks: Count
    pending_tasks: Count


class DailyReport(BaseModel):
    project_id: Id
    sprint_id: Id | None = None
    report_date: date | None = None
    summary: Text | None = None
    summary_metrics: SummaryMetrics | None = None
    reports: dict[date, list[ReportEntry]]
    orchestration_decision_details: dict[str, Any] | None = None


class Planning(BaseModel):
    project_id: Id
    sprint_id: Id
    sprint_goal: Text
    planned_tasks: list[Id] = Field(max_length=10_000)


class ActionItem(BaseModel):
    description: Text
    status: Text = "open"


class SummaryOfTask(BaseModel):
    description: Text
    status: Id
    task_id: Id
    employee_id: Id | None = None
    progress_percentage: Percent | None = None


class Retrospective(BaseModel):
    sprint_id: Id
    project_id: Id
    sprint_name: Text | None = None
    start_date: date | None = None
    end_date: date | None = None
    duration_weeks: Count | None = None
    what_went_well: Text | None = None
    what_could_be_improved: Text | None = None
    action_items: list[ActionItem] = Field(default_factory=list, max_length=1000)
    facilitator_id: Id | None = None
    attendees: list[Id] = Field(default_factory=list, max_length=1000)
    tasks_summary: list[SummaryOfTask] = Field(default_factory=list, max_length=10_000)


class DecisionAudit(BaseModel):
    """A decision of project-orchestrator and why it was made."""

    audit_id: Id
    project_id: Id
    timestamp: datetime
    sprint_id: Id | None = None
    base_decision: dict[str, Any]
    intelligence_recommendations: list[Any] = Field(default_factory=list, max_length=1000)
    applied_adjustments: list[Any] = Field(default_factory=list, max_length=1000)
    final_decision: dict[str, Any]
    combined_reasoning: Text
    correlation_id: Id
