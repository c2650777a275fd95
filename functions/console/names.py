"""The names of employees and projects, of project-service; none where it is unavailable."""

from __future__ import annotations

from functions.console.ask import Ask
from functions.events.base import Value
from functions.kit.clients import Unreadable
from functions.kit.errors import FunctionError


class _Named(Value):
    id: str
    name: str | None = None


async def employee_names(ask: Ask) -> dict[str, str]:
    """Employees' names by id."""
    return await _or_none(ask, "/employees")


async def project_names(ask: Ask) -> dict[str, str]:
    """Projects' names by id."""
    return await _or_none(ask, "/projects")


async def all_projects(ask: Ask) -> dict[str, str]:
    """The same; a `FunctionError` where project-service does not answer with a list."""
    return await _names(ask, "/projects")


async def _or_none(ask: Ask, at: str) -> dict[str, str]:
    try:
        return await _names(ask, at)
    except FunctionError:
        return {}


async def _names(ask: Ask, at: str) -> dict[str, str]:
    """The name of each, empty where it has none that can be read."""
    client = ask.services.projects
    found: list[_Named | Unreadable] = await ask.within(
        client.name, ("names", at), lambda: client.items(at, _Named)
    )
    names = {}
    for one in found:
        if isinstance(one, _Named):
            names[one.id] = one.name or ""
        elif id := one.field("id"):
            names[id] = ""
    return names
