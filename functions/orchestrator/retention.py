"""The orchestrator's retention rules."""

from __future__ import annotations

from collections.abc import Sequence

from functions.kit.context import Context
from functions.kit.durable import Rule, rule, rule_of_log
from functions.orchestrator.orchestrator import OrchestratorSettings

# A run with a failed undo stays: an operator has to complete it.
_ENDED_RUNS = """
WITH gone AS (
    DELETE FROM orchestration_run WHERE flow_id IN (
        SELECT flow_id FROM orchestration_run
        WHERE completed_at < now() - make_interval(days => $1)
        AND status IN ('COMPLETED', 'FAILED', 'UNDONE', 'CANCELLED')
        ORDER BY completed_at LIMIT $2 FOR UPDATE SKIP LOCKED)
    RETURNING flow_id
), steps AS (
    DELETE FROM orchestration_step_run step USING gone WHERE step.flow_id = gone.flow_id
), history AS (
    DELETE FROM audit_event USING gone WHERE audit_event.flow_id = gone.flow_id
)
SELECT count(*) FROM gone"""
# The audit of a run is deleted with it; these entries are of unknown runs.
_OF_NO_RUN = """type = 'ANSWER_REFUSED' AND NOT EXISTS (
    SELECT FROM orchestration_run run WHERE run.flow_id = audit_event.flow_id)"""


def retention(ctx: Context) -> Sequence[Rule]:
    return rules(ctx.settings(OrchestratorSettings).run_retention_days)


def rules(days: int) -> Sequence[Rule]:
    """What is deleted once it is older than so many days."""
    return (
        Rule(days, _ENDED_RUNS),
        rule_of_log("registration_audit", "registered_at", days),
        rule("audit_event", "at", days, _OF_NO_RUN),
    )
