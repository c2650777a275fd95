"""Employees, as project-service has them."""

from __future__ import annotations

from functions.console.ask import Ask
from functions.kit.errors import FunctionError


async def names_of(ask: Ask) -> dict[str, str]:
    """Employees' names by id; none where project-service is unavailable."""
    try:
        employees = await ask.service(ask.services.projects).read("/employees")
    except FunctionError:
        return {}
    return {one["id"]: one["name"] for one in employees}
