"""`make run ONCE=1` by another user than the one who installed, from a path with a blank.

With packages that are installed already (RUN, RUNNABLE): to install them takes over a minute. The
job `morning` of .github/workflows/check.yml lets make install them, `second-user` runs this.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.local_knative import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as another user"),
]

OTHER_USER = 65534
WITHIN_S = 300


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that is the second user's; pytest's own ones are closed to others."""
    with tempfile.TemporaryDirectory(prefix="second", dir="/tmp") as name:
        os.chown(name, OTHER_USER, OTHER_USER)
        yield Path(name)


def as_second(
    home: Path, *command: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """What a command says and how it ends, as a user who has nothing but this home."""
    env = {"HOME": str(home), "PATH": f"{home / 'bin'}:/usr/bin:/bin", "COLUMNS": "200"}
    return subprocess.run(
        command, cwd=cwd or home, env=env, user=OTHER_USER, group=OTHER_USER, extra_groups=[],
        capture_output=True, text=True, timeout=WITHIN_S,
    )  # fmt: skip


def python_of(home: Path, checkout: Path) -> Path:
    """A virtual environment of the second user's, with the packages that are installed here."""
    venv = home / "venv"
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            made = as_second(home, python, "-m", "venv", "--without-pip", str(venv))
        except OSError:
            continue
        if made.returncode == 0:
            break
    else:
        pytest.skip(f"no {version} that another user may run")
    packages = "\n".join((str(checkout), *site.getsitepackages()))
    (venv / "lib" / version / "site-packages" / "here.pth").write_text(f"{packages}\n")
    return venv / "bin" / "python"


@pytest.fixture
def checkout(home: Path) -> Path:
    """What git has committed, in a folder with a blank and a percent sign in its name."""
    place = home / "a b%41"
    place.mkdir()
    archive = subprocess.run(
        ["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(place)], input=archive, check=True)
    return place


@pytest.fixture
def claude(home: Path) -> None:
    """The agents' program in the PATH, as whoever uses one has it; here it does nothing."""
    program = home / "bin" / "claude"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho the stub of an agent\n")
    program.chmod(0o755)


def test_a_second_user_runs_everything_from_a_path_with_a_blank(
    home: Path, checkout: Path, claude: None
) -> None:
    for path in (checkout, *checkout.rglob("*")):
        shutil.chown(path, OTHER_USER, OTHER_USER)
    python = python_of(home, checkout)
    done = as_second(
        home,
        *("make", "--no-print-directory", "run", "ONCE=1", "PORT=0", "DATA=my data"),
        *(f"RUN={python}", "RUNNABLE="),
        cwd=checkout,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "of tenantCreation is completed" in output, output
