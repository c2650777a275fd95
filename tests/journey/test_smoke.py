"""The smoke test of a cluster, against the local one: it needs the gateway and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support_runtime import ROOT, local_knative

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def smoke(url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "knative.smoke", "--url", url, "--within", "60"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_production_overlay_passes_on_a_laptop_twice(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    overlay, data = ROOT / "knative/overlays/production", tmp_path_factory.mktemp("p")
    with local_knative(overlay, data, "--stand-ins") as knative:
        first = smoke(knative.url)
        assert first.returncode == 0, first.stdout + first.stderr
        assert "Cycle of PHE001" in first.stdout
        assert "is filed for PHE001-S02" in first.stdout
        again = smoke(knative.url)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "Cycle of" not in again.stdout


def test_nobody_there_is_said_in_words(tmp_path: Path) -> None:
    done = smoke("http://127.0.0.1:1")
    assert done.returncode == 1
    assert "project-service: ConnectError" in done.stdout
