"""What deletes the CronJobs' remains: nothing by default, and never anything of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A kubectl whose cluster is a file: {"kind/name": part-of label}.
KUBECTL = """#!{python}
import json, sys
store = {store!r}
have = json.load(open(store))
verb, kind, *rest = sys.argv[1:]
if verb == "config":
    print("there")
elif verb == "get" and not rest[0].startswith("--"):
    print(have[kind + "/" + rest[0]])
elif verb == "get":
    print("\\n".join(kind + "s/" + n.split("/")[1] for n in have if n.split("/")[0] == kind))
elif verb == "delete":
    del have[kind + "/" + rest[0]]
    json.dump(have, open(store, "w"))
"""


@dataclass
class Cluster:
    store: Path
    tools: Path

    def left(self) -> set[str]:
        return set(json.loads(self.store.read_text()))

    def clean_up(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "knative.legacy", *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PATH": str(self.tools)},
            check=True,
        )
        return done.stdout


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    store, tools = tmp_path / "store.json", tmp_path / "bin"
    tools.mkdir()
    (tools / "kubectl").write_text(KUBECTL.format(python=sys.executable, store=str(store)))
    (tools / "kubectl").chmod(0o755)
    theirs = (
        "cronjob/orchestration-workflow",
        "cronjob/run-dailyscrum",
        "cronjob/run-dailyscrum-gem-001-gem-001-s01",
        "job/manual-scrum-run-1756512000",
        "role/sprint-report-generator-role",
    )
    store.write_text(
        json.dumps(
            dict.fromkeys(theirs, "")
            | {"job/setup-backlog": "dsm", "job/migrate": "dsm", "cronjob/somebody-elses": ""}
        )
    )
    return Cluster(store, tools)


def test_a_dry_run_tells_and_deletes_nothing(cluster: Cluster) -> None:
    before = cluster.left()
    received = cluster.clean_up()
    assert "would delete cronjob run-dailyscrum-gem-001-gem-001-s01" in received
    assert "A dry run" in received
    assert received.startswith("Namespace dsm of context there\n")
    assert cluster.left() == before


def test_what_is_theirs_goes_and_what_is_ours_or_others_stays(cluster: Cluster) -> None:
    cluster.clean_up("--yes")
    assert cluster.left() == {"job/setup-backlog", "job/migrate", "cronjob/somebody-elses"}


def test_twice_is_once(cluster: Cluster) -> None:
    cluster.clean_up("--yes")
    assert "Nothing of the CronJobs is left" in cluster.clean_up("--yes")
