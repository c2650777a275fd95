"""A local Knative that writes down what it and its functions must not do, and what it wrote."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from tests.support.local_knative import LocalKnative
from tests.support.manifest_files import on_top_of

# From where functions are started: an absolute path could be one that a volume stands for.
WATCH = "tests/support/loop_watch"
# What `functions.kit.clients.transaction_guard` logs, and what the watch tells.
_MISDEEDS = ("while a transaction is open", "while the lock", "the event loop was held")


def watching(overlay: Path, data: Path, *arguments: str) -> LocalKnative:
    """A runtime for `overlay`, with a watch over its event loop and those of its functions."""
    made = watched(overlay, data.with_name(f"{data.name}-overlay"))
    return LocalKnative(made, data, arguments, {"PYTHONPATH": WATCH})


@contextlib.contextmanager
def watched_knative(overlay: Path, data: Path, *arguments: str) -> Iterator[LocalKnative]:
    """One that has started, and is stopped at the end; AssertionError where it wrote down any."""
    runtime = watching(overlay, data, *arguments).start()
    try:
        yield runtime
    finally:
        runtime.stop()
    assert misdeeds(runtime) == []


def watched(overlay: Path, folder: Path) -> Path:
    """`overlay`, made in `folder`, with a watch over the event loop of each function."""
    watch = {"name": "PYTHONPATH", "value": WATCH}
    at = "/spec/template/spec/containers/0/env/-"
    patch = [{"op": "add", "path": at, "value": watch}]
    target = {"group": "serving.knative.dev", "kind": "Service"}
    return on_top_of(overlay, folder, {"target": target, "patch": json.dumps(patch)})


def misdeeds(runtime: LocalKnative) -> list[str]:
    """Long turns of event loops, and calls while a transaction was open."""
    functions = sorted((runtime.data / "logs").glob("*.log"))
    assert functions, "functions have run"
    own = runtime.data.with_name(f"{runtime.data.name}.log")
    return [
        f"{log.name}: {line}" for log in (own, *functions) for line in found_in(log.read_text())
    ]


def found_in(output: str) -> list[str]:
    """The lines that tell of a misdeed."""
    return [line for line in output.splitlines() if any(message in line for message in _MISDEEDS)]
