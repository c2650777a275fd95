"""The file of the daily scrums' schedules: read and checked here, at the edge."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from functions.cron import Cron, CronError
from functions.cycle_trigger import decide
from functions.cycle_trigger.settings import CycleSettings
from functions.kit.context import Context
from functions.kit.errors import PermanentError, TemporaryError

logger = logging.getLogger(__name__)

_ANY_TIME = datetime(2025, 1, 1, tzinfo=UTC)


async def look_up(project_id: str, ctx: Context) -> dict[str, Any]:
    """The project's cron, and the warnings there are: JSON, as a step keeps it."""
    cron, warnings = decide.schedule_of(project_id, read(ctx.settings(CycleSettings)))
    for warning in warnings:
        logger.warning(warning)
    check(project_id, cron)
    return {"cron": cron, "warnings": warnings}


def read(settings: CycleSettings) -> dict[str, object]:
    """The file's entries. It is read each time: a ConfigMap changes under a running process."""
    name = settings.cycle_schedules_file
    if not name:
        return {}
    try:
        entries = json.loads(Path(name).read_bytes())
    except OSError as error:
        raise TemporaryError(f"setting CYCLE_SCHEDULES_FILE: {name}: {error.strerror}") from None
    except ValueError as error:
        raise PermanentError(f"{name} is no valid JSON: {error}") from None
    if not isinstance(entries, dict):
        raise PermanentError(f"{name} must be a JSON object of project id to cron")
    return entries


def check(project_id: str, cron: object) -> None:
    """`PermanentError` unless it is a cron of five fields that comes due some day."""
    problem = "must be text of five fields"
    if isinstance(cron, str) and len(cron.split()) == 5:
        try:
            if Cron(cron).after(_ANY_TIME):
                return
            problem = "never comes due"
        except CronError as error:
            problem = str(error)
    raise PermanentError(f"schedule of project {project_id}: {cron!r}: {problem}")
