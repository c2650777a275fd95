"""functions-framework: what else may serve our targets, besides our own entry point."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

Target = Callable[[Request], Awaitable[Response]]


def known_to_framework(target: Target) -> Target:
    """A target, registered for ASGI where functions-framework is what serves it.

    Else the framework is not loaded: with its Flask it is a third of the time of a cold start.
    """
    if "functions_framework" not in sys.modules:
        return target
    import functions_framework.aio as framework

    registered: Any = framework.http(target)
    return registered  # type: ignore[no-any-return]
