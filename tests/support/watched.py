"""An overlay whose functions write down what they must not do, and what they wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path

import yaml

from tests.support.local_knative import LocalKnative

# From where functions are started: an absolute path could be one that a volume stands for.
WATCH = "tests/support/loop_watch"
# What `functions.kit.clients.transaction_guard` logs, and what the watch tells.
_MISDEEDS = ("while a transaction is open", "while the lock", "the event loop was held")


def watched(overlay: Path, folder: Path) -> Path:
    """`overlay`, made in `folder`, with a watch over the event loop of each function."""
    watch = {"name": "PYTHONPATH", "value": WATCH}
    at = "/spec/template/spec/containers/0/env/-"
    patch = [{"op": "add", "path": at, "value": watch}]
    target = {"group": "serving.knative.dev", "kind": "Service"}
    folder.mkdir(parents=True)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(overlay, folder)],
        "patches": [{"target": target, "patch": json.dumps(patch)}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return folder


def misdeeds(runtime: LocalKnative) -> list[str]:
    """Long turns of event loops, and calls while a transaction was open."""
    logs = sorted((runtime.data / "logs").glob("*.log"))
    assert logs, "functions have run"
    return [f"{log.name}: {line}" for log in logs for line in found_in(log.read_text())]


def found_in(said: str) -> list[str]:
    """The lines that tell of a misdeed."""
    return [line for line in said.splitlines() if any(words in line for words in _MISDEEDS)]
