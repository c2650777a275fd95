"""No request of an API is passed through a thread, which would cost it more than its work."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from functions.kit.contract import Api
from tests.support.repository import all_folders, target

APIS = {
    name: api
    for name in all_folders()
    if isinstance(api := getattr(target(name), "api", None), Api)
}


def called(dependant: Dependant) -> Iterator[object]:
    """An endpoint and all that it depends on."""
    yield dependant.call
    for one in dependant.dependencies:
        yield from called(one)


@pytest.mark.parametrize("name", APIS)
def test_endpoints_and_what_they_depend_on_run_on_the_event_loop(name: str) -> None:
    routes = [route for route in APIS[name].build().routes if isinstance(route, APIRoute)]
    found = [call for route in routes for call in called(route.dependant) if call]
    assert found or not routes
    in_threads = [
        getattr(call, "__qualname__", call)
        for call in found
        if not (inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call))
    ]
    assert in_threads == []
