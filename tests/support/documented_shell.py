"""Shell stories of a README, run as they are written: what a comment says was answered, was."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

# As a user's curl, but that an answer of 400 and more ends the story.
_CURL = 'curl() { command curl -sS --noproxy "*" --fail-with-body "$@" && echo; }\n'
_WRITTEN = "http://localhost:8080"


def blocks(page: Path, about: str) -> str:
    """The shell blocks of a page that speak of something, one after the other."""
    found = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    return "\n".join(block for block in found if about in block)


def run(script: str, url: str) -> list[str]:
    """Run a story against a gateway of another port; the answers, one in a line."""
    assert _WRITTEN in script
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", _CURL + script.replace(_WRITTEN, url)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # the stories show an answer there that they read
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return [line for line in done.stdout.splitlines() if line]


def untrue(script: str, answers: list[str]) -> list[str]:
    """The comments that show an answer that was not given; "..." stands for anything."""
    shown = re.findall(r"^# \{.*(?:\n#  .*)*", script, re.MULTILINE)
    assert shown, "no comment shows an answer"
    wanted = {comment: _fields(comment) for comment in shown}
    return [
        comment
        for comment, fields in wanted.items()
        if not any(all(field in answer for field in fields) for answer in answers)
    ]


def _fields(comment: str) -> list[str]:
    """The fields that a comment shows, each up to the dots where there are any."""
    fields = re.findall(r'"\w+":(?:"[^"]*"|\w+|[\[{]+"\w+")', comment)
    return [field.split("...")[0] for field in fields]
