"""The wheel, installed in an environment of its own and used outside of the checkout."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.local_knative import ROOT
from tests.support.manifest_files import BROKER, SERVICE, write

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMMANDS = sorted(PROJECT["scripts"])
SOURCES = ("functions", "knative")


def uv(*arguments: str) -> None:
    command = [sys.executable, "-m", "uv", "--offline", "--quiet", *arguments]
    subprocess.run(command, check=True, timeout=100)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of a copy: building leaves folders beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=skip)
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    uv("build", "--wheel", "--no-build-isolation", f"--out-dir={folder}", str(folder / "source"))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path) -> Path:
    """Where the commands are: the wheel is installed, its requirements are this environment's."""
    venv = wheel.parent / "a folder" / "venv"
    uv("venv", f"--python={sys.executable}", str(venv))
    uv("pip", "install", "--no-deps", f"--python={venv / 'bin' / 'python'}", str(wheel))
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "requirements.pth").write_text(sysconfig.get_path("purelib"))
    return venv / "bin"


def run(program: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_wheel_holds_whatever_the_sources_hold(wheel: Path) -> None:
    sources = {
        str(path.relative_to(ROOT))
        for name in SOURCES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "Dockerfile"
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == sources


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_says_its_version_and_helps(programs: Path, command: str, tmp_path: Path) -> None:
    shown = run(programs / command, "--version", cwd=tmp_path)
    assert (shown.stdout, shown.stderr) == (f"{command} {PROJECT['version']}\n", "")
    helped = run(programs / command, "--help", cwd=tmp_path)
    assert helped.stdout.startswith(f"usage: {command} ")
    assert f"examples:\n  {command} " in helped.stdout
    assert "Exit codes: 0 " in helped.stdout
    wrong = run(programs / command, "--no-such-option", cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")


@pytest.mark.parametrize(
    "command",
    ["run", "task create", "jobs list", "deliveries list", "schedules list", "sagas runs", "fire",
     "send", "events", "services", "dead-letters"],
)  # fmt: skip
def test_each_command_of_dsm_is_called_by_that_name(
    programs: Path, command: str, tmp_path: Path
) -> None:
    helped = run(programs / "dsm", *command.split(), "--help", cwd=tmp_path)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert helped.stdout.startswith(f"usage: dsm {command} ")


def test_a_hint_names_the_command_that_is_installed(programs: Path, tmp_path: Path) -> None:
    failed = run(programs / "knative-local", "services", cwd=tmp_path)
    assert failed.returncode == 1
    assert f"start one with `'{programs / 'knative-local'}' up`" in failed.stderr


def test_a_hint_names_the_command_as_it_is_in_path(programs: Path, tmp_path: Path) -> None:
    """pipx and `uv tool` put a link there."""
    (tmp_path / "bin").mkdir()
    link = tmp_path / "bin" / "knative-local"
    link.symlink_to(programs / "knative-local")
    failed = subprocess.run(
        [link, "services"], cwd=tmp_path, env=os.environ | {"PATH": str(link.parent)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "start one with `knative-local up`" in failed.stderr


def test_the_linter_reads_yaml_outside_of_the_checkout(programs: Path, tmp_path: Path) -> None:
    write(tmp_path / "overlay", objects=f"{BROKER}---{SERVICE}")
    clean = run(programs / "knative-lint", "--fail-on", "error", "overlay", cwd=tmp_path)
    assert clean.returncode == 0, clean.stdout + clean.stderr


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_is_for_a_terminal_that_wants_it(
    programs: Path, environment: dict[str, str], coloured: bool, tmp_path: Path
) -> None:
    main, terminal = pty.openpty()
    script = "from knative.local.cli.terminal import say, state; say(state('ready'))"
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    subprocess.run(
        [programs / "python", "-c", script], stdout=terminal, cwd=tmp_path, check=True, timeout=60,
        env=kept | {"TERM": "xterm"} | environment,
    )  # fmt: skip
    os.close(terminal)
    shown = os.read(main, 4096)
    os.close(main)
    assert b"ready" in shown
    assert (b"\x1b[32m" in shown) == coloured


PAGES = ("README.md", "OWN-FUNCTIONS.md", "TESTING.md")
FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_works_as_it_stands(programs: Path, tmp_path: Path, page: str) -> None:
    """Outside of the checkout; only the port is another, and what `pip` would install is there."""
    path = os.pathsep.join([str(programs), sysconfig.get_path("scripts"), os.environ["PATH"]])
    # A pytest of its own: it takes the rights to its folder from all others, also from PostgreSQL.
    inner = f"--basetemp={tmp_path / 'inner'}"
    env = {"PATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": inner}
    shell = {"cwd": tmp_path, "env": os.environ | env, "text": True}
    running: list[subprocess.Popen[str]] = []
    try:
        for language, file, text in FENCE.findall((ROOT / "knative" / "local" / page).read_text()):
            if file:
                (tmp_path / file).write_text(text)
                continue
            assert language == "console"
            for block in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, expected = block.partition("\n")
                if command.startswith("pip "):
                    continue
                if command.endswith(" &"):
                    expected_text = f"exec {command.removesuffix(' &')} --port 0"
                    running.append(subprocess.Popen(["bash", "-c", expected_text], **shell))  # type: ignore[call-overload]
                    wait_for(tmp_path / ".data" / "runtime.json", running[0])
                    continue
                done = subprocess.run(
                    ["bash", "-c", command], capture_output=True, timeout=60, check=False, **shell
                )  # type: ignore[call-overload]
                assert (done.returncode, done.stderr) == (0, ""), command
                pattern = ".*".join(map(re.escape, expected.split("...")))
                assert re.fullmatch(pattern, done.stdout, re.DOTALL), f"{command}\n{done.stdout}"
        assert not any(process.wait(30) for process in running)
    finally:
        for process in running:
            process.kill()


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_init_writes_over_nothing(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text("mine")
    refused = run(programs / "knative-local", "init", cwd=tmp_path)
    assert (refused.returncode, refused.stderr) == (1, "hello.py exists; give another folder\n")
    assert [file.name for file in tmp_path.iterdir()] == ["hello.py"]
