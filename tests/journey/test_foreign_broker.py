"""The conformance suite against a broker that it did not start, as against a cluster's."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conformance.triggers import manifests
from tests.support.local_knative import ROOT, local_knative

BROKER = "conformance/default"
BROKER_HOST = "broker-ingress.knative-eventing.localhost"


@pytest.mark.slow
def test_the_suite_runs_unchanged_against_a_broker_behind_a_gateway(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        sink = f"127.0.0.1:{free.getsockname()[1]}"
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text("resources: [objects.yaml]\n")
    (overlay / "objects.yaml").write_text(yaml.safe_dump_all(manifests(f"/{BROKER}", sink)))
    with local_knative(overlay, tmp_path / "data") as knative:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
        wire = {"BROKER_URL": f"{knative.url}/{BROKER}", "BROKER_HOST": BROKER_HOST}
        # Without a cache, which would forget what has failed outside; and pytest takes the rights
        # to its folder of temporary files from all others, also from PostgreSQL servers in it.
        options = ["-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'inner'}"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, "tests/conformance"],
            env=inherited | wire | {"SINK_HOST": sink},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.fullmatch(r"\d{3,} passed in .*", done.stdout.splitlines()[-1])
