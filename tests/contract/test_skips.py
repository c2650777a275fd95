"""In CI no test is skipped but for a reason that is listed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import skips
from tests.support.repository import ROOT

TEST = """
import pytest

@pytest.mark.skipif(True, reason="{reason}")
def test_by_mark(): ...

def test_by_call():
    pytest.skip("{reason}")

@pytest.mark.xfail
def test_expected_to_fail():
    assert False
"""
PLUGINS = ("-p", "tests.support.skips", "-p", "no:cloudcoil", "-p", "no:cacheprovider")
PROMTOOL = "promtool is missing"
KUBECTL = "there is no kubectl here"
ROOT_ONLY = "only root can run as another user"


@pytest.mark.parametrize(
    ("reason", "environ", "outcome"),
    [
        (PROMTOOL, {"CI": "1"}, "1 failed, 1 xfailed, 1 error"),
        (PROMTOOL, {"CI": "true", "GITHUB_ACTIONS": "true"}, "1 failed, 1 xfailed, 1 error"),
        (PROMTOOL, {}, "2 skipped, 1 xfailed"),
        (KUBECTL, {"CI": "1"}, "2 skipped, 1 xfailed"),
        (ROOT_ONLY, {"CI": "1"}, "1 failed, 1 xfailed, 1 error"),
        (ROOT_ONLY, {"CI": "true", "GITHUB_ACTIONS": "true"}, "2 skipped, 1 xfailed"),
    ],
)
def test_a_skip_that_is_not_listed_is_a_failure(
    reason: str, environ: dict[str, str], outcome: str, tmp_path: Path
) -> None:
    (tmp_path / "test_it.py").write_text(TEST.format(reason=reason))
    inherited = {k: v for k, v in os.environ.items() if k not in ("CI", "GITHUB_ACTIONS")}
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull]
    done = subprocess.run(
        [*command, *PLUGINS, f"--rootdir={tmp_path}", str(tmp_path)],
        cwd=ROOT,
        env=inherited | environ,
        capture_output=True,
        text=True,
    )
    assert outcome in done.stdout, done.stdout
    if "error" in outcome:
        assert f"test_by_mark was skipped: {reason}" in done.stdout


def test_each_reason_that_is_listed_is_one_of_a_test() -> None:
    sources = "".join(
        file.read_text() for file in (ROOT / "tests").rglob("test_*.py") if file != Path(__file__)
    )
    for reason in (*skips.ALLOWED, *skips.ALLOWED_ON_GITHUB):
        assert f'"{reason}"' in sources, reason
