"""The names of employees and projects, of project-service; none where it is unavailable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from functions.console.ask import Ask
from functions.kit.errors import FunctionError


async def employee_names(ask: Ask) -> dict[str, str]:
    """Employees' names by id."""
    return await _names(ask, "/employees")


async def project_names(ask: Ask) -> dict[str, str]:
    """Projects' names by id."""
    return await _names(ask, "/projects")


async def _names(ask: Ask, at: str) -> dict[str, str]:
    try:
        found = await ask.service(ask.services.projects).read(at)
    except FunctionError:
        return {}
    return by_id(found)


def by_id(found: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The name of each, empty where it has none.

    >>> by_id([{"id": "P", "name": "Phoenix"}, {"id": "Q"}])
    {'P': 'Phoenix', 'Q': ''}
    """
    return {one["id"]: one.get("name") or "" for one in found}
