"""The linter as a step of a GitHub workflow, and as a pre-commit hook."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.manifest_files import BROKER, SERVICE, write
from tests.support.repository import ROOT

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
INSTALL, LINT = ACTION["runs"]["steps"]
LONELY = """
    apiVersion: eventing.knative.dev/v1
    kind: Trigger
    metadata: {name: lonely, namespace: default}
    spec:
      broker: default
      subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: missing}}
"""


def run(step: dict[str, Any], folder: Path, **given: str) -> subprocess.CompletedProcess[str]:
    """A step's script, as a runner runs it, with the commands of this environment in its PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    environ = {**os.environ, "PATH": path, **given}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)


def test_the_action_is_one_by_githubs_schema() -> None:
    command = ["check-jsonschema", "--builtin-schema", "vendor.github-actions", "action.yml"]
    done = subprocess.run(
        [Path(sys.executable).with_name(command[0]), *command[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("trigger", "code"), [("", 0), (LONELY, 1)], ids=["good", "bad"])
def test_the_action_fails_where_the_linter_finds_something(
    tmp_path: Path, trigger: str, code: int
) -> None:
    files = {"broker": BROKER, "service": SERVICE} | ({"trigger": trigger} if trigger else {})
    folder = write(tmp_path / "k8s", **files)
    done = run(LINT, tmp_path, FOLDERS=folder.name, OPTIONS="--select KN1")
    assert done.returncode == code, done.stdout + done.stderr


def test_the_actions_inputs_all_reach_its_scripts() -> None:
    used = [*INSTALL["env"].values(), *LINT["env"].values()]
    assert sorted(used) == sorted(f"${{{{ inputs.{name} }}}}" for name in ACTION["inputs"])


def test_the_hook_runs_a_command_of_this_project_with_what_it_needs() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert hook["entry"] in project["scripts"]
    assert hook["additional_dependencies"] == [".[local]"]
    assert "local" in project["optional-dependencies"]
