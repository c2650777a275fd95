"""Finds what must not happen while a transaction is open: a network call, a second connection.

A call holds the connection and its locks for as long as another service pleases; who waits
for a second connection may hold the one that others wait for. Nor is a call made while a lock over
more than one entity is held. In production a violation is logged; in tests it fails the test.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

logger = logging.getLogger(__name__)

# What is held by this task, and by the tasks that it starts, and forbids a call.
_held: ContextVar[tuple[str, ...]] = ContextVar("held", default=())
_TRANSACTION = "a transaction is open"

# Violations since the process started; tests fail on a new one.
violations: list[str] = []
MAX_KEPT = 20


@contextmanager
def transaction_open() -> Iterator[None]:
    """A transaction is open inside."""
    with _holding(_TRANSACTION):
        yield


@contextmanager
def lock_held(name: str) -> Iterator[None]:
    """A lock over more than one entity is held inside."""
    with _holding(f"the lock {name!r} is held"):
        yield


@contextmanager
def _holding(what: str) -> Iterator[None]:
    token = _held.set((*_held.get(), what))
    try:
        yield
    finally:
        _held.reset(token)


def network_call(target: str) -> None:
    """Report a call to `target` if something is held that forbids it."""
    if held := _held.get():
        _report(f"a call to {target}", held[0])


def second_connection() -> None:
    """Report that a connection is asked for by a task that holds one in a transaction."""
    if _TRANSACTION in _held.get():
        _report("a second connection", _TRANSACTION)


def _report(what: str, held: str) -> None:
    if len(violations) < MAX_KEPT:
        violations.append(f"{what} while {held}")
    logger.error("%s while %s", what, held)
