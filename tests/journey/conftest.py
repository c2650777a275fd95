"""Each journey is watched, from its first process to its last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.watched import Findings, watching


@pytest.fixture(scope="package", autouse=True)
def findings() -> Iterator[Findings]:
    with watching() as found:
        yield found


@pytest.fixture(autouse=True)
def no_loop_is_held(findings: Findings) -> Iterator[None]:
    """Fail a journey that holds an event loop, or calls a service while a transaction is open."""
    yield
    if found := findings.take():
        pytest.fail("\n".join(found))
