"""`knative-local` as a user or a program calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from tests.support.local_knative import ROOT

TINY = ROOT / "tests" / "local" / "overlays" / "tiny"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What the command printed, and its exit code."""
    return subprocess.run(
        [sys.executable, "-m", "knative.local", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def lines(*arguments: str) -> list[dict[str, Any]]:
    """What a command prints for programs."""
    return [json.loads(line) for line in run(*arguments, "--json").stdout.splitlines()]


def one_line(failed: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """The one line in which a command says why it failed; its exit code is `code`."""
    assert failed.returncode == code
    assert "Traceback" not in failed.stderr
    *progress, line = failed.stderr.splitlines()
    assert all(message.startswith(("Starting ", "Running ")) for message in progress)
    return line
