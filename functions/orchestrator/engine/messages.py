"""The events of the orchestrator: commands, ends of runs, decided registrations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from functions.events.saga import RegistrationDecided, RunEnded, StepCommanded
from functions.kit import cloudevents
from functions.kit.telemetry import trace
from functions.orchestrator.decide.model import Action, Command, Run, RunStatus, StepStatus
from functions.orchestrator.decide.run import results_of
from functions.orchestrator.decide.undo import left_to_undo

SOURCE = "/functions/orchestrator"
# `json.dumps` with options creates an encoder for each call.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def of_command(
    run: Run, command: Command, at: datetime, carried: Mapping[str, str]
) -> cloudevents.Message:
    """Return a command for a worker; its attributes are for Triggers, its data is complete."""
    step, definition = run.steps[command.step], run.definition.by_name[command.step]
    data: dict[str, Any] = {
        "flowId": run.flow_id,
        "orchName": run.definition.name,
        "stepName": command.step,
        "action": command.action,
        "workerName": command.worker,
        "attempt": command.attempt,
        "effectKey": f"{run.flow_id}/{command.step}/{step.round}",
        "seq": definition.seq,
        "objectType": definition.object_type,
        "payload": run.payload,
        "payloadEncoding": run.payload_encoding,
        "results": results_of(run.steps),
        "deadline": None if step.due_at is None else cloudevents.format_time(step.due_at),
    }
    if command.action is Action.UNDO:
        data |= {"result": step.result, "effect": command.effect}
    attributes = {
        "orchname": run.definition.name,
        "stepname": command.step,
        "action": str(command.action),
        "workername": command.worker,
    }
    about = f"{run.flow_id}#{command.step}#{command.action}#{command.attempt}"
    return _message(StepCommanded.type, about, run.flow_id, data, {**carried, **attributes}, at)


def of_end(run: Run, at: datetime, carried: Mapping[str, str]) -> cloudevents.Message:
    """Return the event that a run has ended."""
    failed = run.status is RunStatus.UNDO_FAILED
    data = {
        "flowId": run.flow_id,
        "orchName": run.definition.name,
        "status": run.status,
        "reason": run.reason,
        "left": left_to_undo(run) if failed else [],
        "results": {n: s.result for n, s in run.steps.items() if s.status is StepStatus.DO_SUCCESS},
    }
    attributes = {"orchname": run.definition.name, "status": str(run.status)}
    about = f"{run.flow_id}#{run.status}#{run.completed_at}"
    return _message(RunEnded.type, about, run.flow_id, data, {**carried, **attributes}, at)


def of_registration(
    decided: RegistrationDecided, about: str, at: datetime, carried: Mapping[str, str]
) -> cloudevents.Message:
    """Return the event of a decided registration."""
    data, why = decided.model_dump(mode="json"), {"correlationid": about, **carried}
    return _message(RegistrationDecided.type, about, decided.orch_name, data, why, at)


def _message(
    type_: str,
    about: str,
    subject: str,
    data: Mapping[str, Any],
    extensions: Mapping[str, str],
    at: datetime,
) -> cloudevents.Message:
    message = cloudevents.Message(
        id=str(uuid5(NAMESPACE_URL, f"{SOURCE}#{type_}#{about}")),
        source=SOURCE,
        type=type_,
        data=_encode(data).encode(),
        subject=subject,
        time=cloudevents.format_time(at),
        datacontenttype="application/json",
        extensions={"partitionkey": subject, **extensions},
    )
    return trace.created([message])[0]
