"""Finds network calls that are made while a transaction is open.

Such a call holds a connection and its locks for as long as another service pleases. In production a
violation is logged; tests raise it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

logger = logging.getLogger(__name__)

_open: ContextVar[bool] = ContextVar("transaction_open", default=False)

# Violations since the process started; tests fail on a new one.
violations: list[str] = []
MAX_KEPT = 20


@contextmanager
def transaction_open() -> Iterator[None]:
    """A transaction of this task, and of the tasks that it starts, is open."""
    token = _open.set(True)
    try:
        yield
    finally:
        _open.reset(token)


def network_call(target: str) -> None:
    """Report a call to `target` if a transaction is open."""
    if _open.get():
        if len(violations) < MAX_KEPT:
            violations.append(target)
        logger.error("network call to %s while a transaction is open", target)
