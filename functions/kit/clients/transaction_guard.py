"""Finds what must not happen while a transaction is open: a network call, a second connection.

A call holds the connection and its locks for as long as another service pleases; who waits
for a second connection may hold the one that others wait for. In production a violation is logged;
in tests it fails the test.
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
        _report(f"a call to {target}")


def second_connection() -> None:
    """Report that a connection is asked for by a task that holds one in a transaction."""
    if _open.get():
        _report("a second connection")


def _report(what: str) -> None:
    if len(violations) < MAX_KEPT:
        violations.append(what)
    logger.error("%s while a transaction is open", what)
