"""The image, its workflows and the Makefile keep their rules, read without Docker or GitHub."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.repository import ROOT

DOCKERFILE = (ROOT / "functions" / "Dockerfile").read_text()
COMPILED = {"/venv/lib", "functions", "/usr/local/lib/python3*"}
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
IMAGE = yaml.safe_load((ROOT / ".github" / "workflows" / "image.yml").read_text())
CHECK = yaml.safe_load((ROOT / ".github" / "workflows" / "check.yml").read_text())
CHECKED: list[str] = CHECK["jobs"]["check"]["strategy"]["matrix"]["python"]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, comments and line breaks taken out."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    split = [line.partition(" ") for line in joined.splitlines() if line]
    return [(word, rest) for word, _, rest in split]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    starts = [number for number, (word, _) in enumerate(found) if word == "FROM"]
    assert len(starts) == 2, "one stage builds, one runs"
    return found[starts[-1] :]


def steps(action: str, job: str = "publish") -> list[dict[str, Any]]:
    """The steps of a job of the image workflow that use an action."""
    found: list[dict[str, Any]] = IMAGE["jobs"][job]["steps"]
    return [step for step in found if step.get("uses", "").startswith(f"{action}@")]


def test_both_stages_stand_on_the_slim_image_that_a_digest_can_pin() -> None:
    bases = [rest.partition(" AS ")[0] for word, rest in instructions() if word == "FROM"]
    assert set(bases) == {"${PYTHON_IMAGE}${PYTHON_DIGEST:+@${PYTHON_DIGEST}}"}
    (version,) = re.findall(r"^ARG PYTHON_IMAGE=python:(3\.\d+)-slim$", DOCKERFILE, re.MULTILINE)
    assert version in CHECKED, "what runs in the image is what was tested"


def test_no_container_runs_as_root() -> None:
    assert ("USER", "1000:1000") in last_stage()


def test_the_image_holds_the_functions_and_what_they_need_only() -> None:
    copied = [shlex.split(rest) for word, rest in instructions() if word in ("COPY", "ADD")]
    outside = [message for message in copied if not message[0].startswith("--from=")]
    assert {source for message in outside for source in message[:-1]} == {
        "requirements.lock",
        "functions",
    }
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in allowed
    assert {line for line in allowed if line.startswith("!")} == {
        "!requirements.lock",
        "!functions",
    }


def test_there_are_no_build_tools_in_the_image() -> None:
    ran = [rest for word, rest in instructions() if word == "RUN"]
    assert not any(re.search(r"gcc|build-essential", text) for text in ran)
    installed = [text for text in ran if "apt-get install" in text]
    assert [text.partition("--no-install-recommends ")[2].split()[0] for text in installed] == [
        "git"
    ]
    assert "--only-binary=:all:" in ran[0], "a wheel that is missing must fail the build"
    assert "--require-hashes" in ran[0], "another file than the locked one must fail it"
    assert "--without-pip" in ran[0]
    assert any("rm -rf /usr/local/bin/pip*" in rest for word, rest in last_stage() if word == "RUN")


def test_bytecode_is_compiled_and_stays_true_whatever_the_layers_times() -> None:
    """Of all that a start imports: the packages, the functions, and the standard library."""
    ran = [c for word, rest in instructions() if word == "RUN" for c in rest.split("&&")]
    compiled = [shlex.split(command) for command in ran if "compileall" in command]
    assert {
        place for message in compiled for place in message[-2:] if place in COMPILED
    } == COMPILED
    for message in compiled:
        assert message[message.index("--invalidation-mode") + 1] == "unchecked-hash"
    assert any("compileall" in rest for word, rest in last_stage() if word == "RUN"), (
        "the standard library is the last stage's own"
    )
    assert any("PYTHONDONTWRITEBYTECODE=1" in rest.split() for _, rest in last_stage())


def test_the_library_is_compiled_without_a_fault_and_then_read_from_bytecode(
    tmp_path: Path,
) -> None:
    """What the Dockerfile runs, on a few modules: a start must not compile them again."""
    (command,) = (
        c
        for word, rest in last_stage()
        if word == "RUN"
        for c in rest.split("&&")
        if "compile" in c
    )
    library = Path(json.__file__).parents[1]
    for part in ("json", "email", "idlelib"):
        if (library / part).is_dir():
            shutil.copytree(
                library / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__")
            )
    message = shlex.split(command)
    message[0] = sys.executable
    message[-1] = str(tmp_path)
    subprocess.run(message, check=True, timeout=60)
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    read = subprocess.run(
        [sys.executable, "-v", "-c", "import json, email.message"],
        env=env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    received = [line for line in read.stderr.splitlines() if str(tmp_path) in line]
    assert any(line.startswith("# ") and "matches" in line for line in received)
    assert not [
        line
        for line in received
        if line.startswith("# code object from '") and line.endswith(".py'")
    ]
    assert not list(tmp_path.glob("idlelib/**/*.pyc"))


def test_knative_asks_for_health_and_docker_does_not() -> None:
    assert ("HEALTHCHECK", "NONE") in last_stage()
    assert ("ENTRYPOINT", '["python", "-m", "functions.kit.process.serve"]') in last_stage()


@pytest.mark.parametrize("name", ["title", "description", "version", "revision", "source"])
def test_the_image_says_what_it_is(name: str) -> None:
    assert f"org.opencontainers.image.{name}=" in DOCKERFILE


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_one_that_github_takes(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    done = subprocess.run(
        [*command, "vendor.github-workflows", str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_workflow_uses_is_a_commit_that_cannot_be_moved(path: Path) -> None:
    used = re.findall(r"uses: ([^.].+)$", path.read_text(), re.MULTILINE)
    assert used
    # Dependabot reads the version behind it.
    pinned = r"\S+@[0-9a-f]{40}  # v[0-9.]+"
    assert [one for one in used if not re.fullmatch(pinned, one)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_no_right_but_to_read_unless_a_job_says_why(path: Path) -> None:
    body = yaml.safe_load(path.read_text())
    assert body["permissions"] == {"contents": "read"}
    for job in body["jobs"].values():
        assert "uses" in job or job["timeout-minutes"] <= 60


def test_every_python_that_we_promise_is_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f">={CHECKED[0]}" == project["requires-python"]
    minors = [int(version.removeprefix("3.")) for version in CHECKED]
    assert minors == list(range(minors[0], minors[-1] + 1)), "none between is left out"


def test_an_image_has_the_tags_that_users_know() -> None:
    (step,) = steps("docker/metadata-action")
    rules = set(re.findall(r"type=(\w+)", step["with"]["tags"]))
    assert rules == {"raw", "sha", "semver", "ref"}, "latest, commit, release, pull request"


def test_a_pull_request_publishes_nothing_and_has_no_right_to() -> None:
    assert IMAGE["jobs"]["publish"]["if"] == "github.event_name != 'pull_request'"
    (last,) = steps("docker/build-push-action")
    assert (last["with"]["push"], last["with"]["platforms"]) == (True, "linux/amd64,linux/arm64")
    for name, job in IMAGE["jobs"].items():
        if name != "publish":
            assert not {"packages", "id-token", "attestations"} & job.get("permissions", {}).keys()
            assert not any("push" in step["with"] for step in _builds(job))


def _builds(job: dict[str, Any]) -> list[dict[str, Any]]:
    used = (step for step in job.get("steps", ()) if "build-push-action" in step.get("uses", ""))
    return list(used)


def test_a_laptop_starts_the_image_as_its_dockerfile_does() -> None:
    received = yaml.safe_load((ROOT / "knative" / "base" / "knative-local.yaml").read_text())
    (entrypoint,) = re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.MULTILINE)
    assert received["images"]["dsm-functions"]["command"] == json.loads(entrypoint)


def test_nothing_is_published_before_it_was_checked_tried_and_scanned_on_each_machine() -> None:
    assert set(IMAGE["jobs"]["publish"]["needs"]) == {"base", "check", "image"}
    assert IMAGE["jobs"]["check"]["uses"] == "./.github/workflows/check.yml"
    machines = IMAGE["jobs"]["image"]["strategy"]["matrix"]["include"]
    assert {one["platform"] for one in machines} == {"amd64", "arm64"}
    (scan,) = steps("aquasecurity/trivy-action", "image")
    assert scan["with"]["exit-code"] == "1"
    ran = "".join(step.get("run", "") for step in IMAGE["jobs"]["image"]["steps"])
    assert "--read-only" in ran
    assert "/health/live" in ran


def test_an_image_says_what_is_in_it_and_where_it_came_from() -> None:
    (last,) = steps("docker/build-push-action")
    assert (last["with"]["sbom"], last["with"]["provenance"]) == (True, "mode=max")
    (signed,) = steps("actions/attest-build-provenance")
    assert signed["with"]["subject-digest"] == "${{ steps.push.outputs.digest }}"


@pytest.mark.parametrize(
    "target", ["image", "deploy", "undeploy", "cleanup-legacy", "smoke", "check", "run"]
)
def test_a_make_target_is_there_and_explained(target: str) -> None:
    text = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{target}:.*## \w", text, re.MULTILINE)
    assert target in re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)[-1].split()


def locked(name: str) -> dict[str, str]:
    """Versions by package, each package of which has hashes."""
    versions = {}
    text = (ROOT / name).read_text().split("\n", 1)[1]
    for entry in re.split(r"\n(?=[\w.-]+==)", text):
        package, version = re.match(r"([\w.-]+)==([^ ;]+)", entry).groups()  # type: ignore[union-attr]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), package
        versions[package] = version
    return versions


def pinned(requirements: list[str]) -> dict[str, str]:
    pin = re.compile(r"([\w.-]+)(?:\[.*?\])?==([^ ;]+)")
    pins = {match[1]: match[2] for line in requirements if (match := pin.match(line))}
    assert len(pins) == len(requirements)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}


def test_the_locks_hold_what_is_required_and_each_by_its_hash() -> None:
    """`make lock` makes them anew; they also have what the packages themselves require."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    image = pinned([line for line in lines if line and not line.startswith("#")])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    local = image | pinned(extras["local"]) | pinned(project["dependency-groups"]["build"])
    everything = local | pinned(extras["dev"])
    newest = locked("requirements-dev.lock")
    for lock, pins in (
        ("requirements.lock", image),
        ("requirements-local.lock", local),
        ("requirements-dev.lock", everything),
    ):
        versions = locked(lock)
        assert {name: versions.get(name) for name in pins} == pins, f"{lock}: run make lock"
        assert len(versions) > len(pins)
        assert versions.items() <= newest.items(), f"{lock}: run make lock"


def test_make_installs_nothing_but_what_is_locked() -> None:
    """Neither a package without a hash nor one that building this project asks for."""
    shown = subprocess.run(
        ["make", "--dry-run", "--always-make", "setup", "run"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    installs = [line for line in re.split(r"\n|&&", shown) if "pip install" in line]
    assert len(installs) == 4
    for install in installs:
        assert "--no-deps" in install
        assert "--require-hashes -r requirements-" in install or (
            "--no-build-isolation -e ." in install
        )
