"""The folder of all state: what may be deleted, by `make clean` as a newcomer types it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from knative.local import data_folder
from tests.support.local_knative import ROOT, local_knative

TINY = Path(__file__).parent / "overlays" / "tiny"


def make(*expected_text: str, run: str = sys.executable) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", f"RUN={run}", *expected_text]
    # As from a shell, also where the tests themselves were started by make.
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


def used(data: Path) -> Path:
    """A data folder as a run has left it."""
    data_folder.prepare(data)
    (data / "logs").mkdir()
    return data


@pytest.mark.parametrize("run", [sys.executable, "/no/python"], ids=["installed", "no .venv"])
@pytest.mark.parametrize("name", ["x y", "it's $HOME", "-rf"])
def test_clean_deletes_the_one_folder_that_it_is_given(tmp_path: Path, name: str, run: str) -> None:
    data = used(tmp_path / name)
    for other in name.split():
        (tmp_path / other).mkdir(exist_ok=True)
    where = str(data).replace("$", "$$")  # to make a dollar is two
    done = make("clean", f"DATA={where}", run=run)
    assert done.returncode == 0, done.stderr
    assert not data.exists()
    assert {entry.name for entry in tmp_path.iterdir()} == set(name.split()) - {name}


@pytest.mark.parametrize("run", [sys.executable, "/no/python"], ids=["installed", "no .venv"])
def test_clean_leaves_alone_what_is_not_marked_as_ours(tmp_path: Path, run: str) -> None:
    (tmp_path / "thesis.txt").write_text("three years")
    done = make("clean", f"DATA={tmp_path}", run=run)
    assert (tmp_path / "thesis.txt").exists()
    if run == sys.executable:
        assert done.returncode == 2
        assert f"{tmp_path} is not marked as a data folder" in done.stderr


def test_a_folder_that_holds_other_files_is_used_and_never_marked(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years")
    data_folder.prepare(tmp_path)
    assert not (tmp_path / data_folder.MARKER).exists()
    assert make("clean", f"DATA={tmp_path}").returncode == 2
    assert (tmp_path / "thesis.txt").exists()


def test_a_folder_of_an_older_version_is_marked_and_closed_to_others(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    (data / "broker.sqlite").touch(mode=0o644)
    data_folder.prepare(data)
    assert (data / data_folder.MARKER).exists()
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "broker.sqlite").stat().st_mode) == 0o600


def test_a_link_and_what_it_leads_to_are_both_deleted(tmp_path: Path) -> None:
    used(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert make("clean", f"DATA={tmp_path / 'link'}").returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_is_clean(tmp_path: Path) -> None:
    assert make("clean", f"DATA={tmp_path / 'none'}").returncode == 0


def test_a_run_shares_no_file_with_other_users(tmp_path: Path) -> None:
    """A lock file in the folder of temporary files kept a second user from starting."""
    shared = tmp_path / "tmp"
    shared.mkdir()
    overlay = Path(__file__).parent / "overlays" / "jobs"
    with local_knative(overlay, tmp_path / "data", TMPDIR=str(shared), XDG_RUNTIME_DIR=""):
        assert list(shared.iterdir()) == []


def python(folder: Path, name: str, script: str) -> Path:
    """A program that is taken for a Python."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_a_half_made_virtual_environment_is_made_anew(tmp_path: Path) -> None:
    venv, calls = tmp_path / "venv", tmp_path / "calls"
    (venv / "bin").mkdir(parents=True)
    python(venv / "bin", "python", "exit 1")  # a venv without pip
    whole = f'echo "$@" >> {calls}'
    fake = python(
        tmp_path,
        "python3.12",
        f'case "$*" in "-m venv --clear {venv}") '
        f"printf '#!/bin/sh\\n{whole}\\n' > {venv}/bin/python;; esac",
    )
    done = make("setup", f"PYTHON={fake}", f"VENV={venv}", run=str(venv / "bin" / "python"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Making a virtual environment" in done.stdout
    assert "pip install" in calls.read_text()
    again = make("setup", f"PYTHON={fake}", f"VENV={venv}", run=str(venv / "bin" / "python"))
    assert "Making a virtual environment" not in again.stdout


@pytest.mark.parametrize(
    ("script", "expected_text"),
    [
        ("echo 'pyenv: python3.9: command not found' >&2; exit 127", "is needed, and"),
        ("echo noise; exit 1", "is needed, and"),
        (None, "There is no"),
    ],
    ids=["a shim", "too old", "not there"],
)
def test_a_python_that_will_not_do_is_one_plain_sentence(
    tmp_path: Path, script: str | None, expected_text: str
) -> None:
    fake = python(tmp_path, "python3.9", script) if script else tmp_path / "python3.9"
    done = make("setup", f"PYTHON={fake}", f"VENV={tmp_path / 'venv'}")
    assert done.returncode == 2
    output = [line for line in (done.stdout + done.stderr).splitlines() if "make: ***" not in line]
    assert len(output) == 1
    assert expected_text in output[0]
    assert "make PYTHON=python3.12" in output[0]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What git knows, in a folder with a blank in its path."""
    place = tmp_path / "a checkout"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "functions", "knative", "tests/local", "tests/support",
         "tests/__init__.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    return place


def test_a_checkout_and_data_may_have_blanks_in_their_paths(checkout: Path) -> None:
    overlay = checkout / "tests" / "local" / "overlays" / "jobs"
    command = [sys.executable, "-m", "knative.local", "up", "--once", "--port", "0"]
    done = subprocess.run(
        [*command, "--overlay", str(overlay), "--data", "my data"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Settled" in done.stdout
    assert (checkout / "my data" / data_folder.MARKER).exists()
