"""kubectl as a command, of the cluster that its user has chosen."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import Any


class Kubectl:
    """kubectl, whose every call may fail in its own words; `command` may hold options."""

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)

    def __call__(self, *arguments: str, given: str | None = None, quiet: bool = False) -> str:
        """What it prints; SystemExit in its words where it fails and `quiet` does not allow it."""
        command = [*self._command, *arguments]
        try:
            done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
        except FileNotFoundError:
            raise SystemExit(f"{command[0]} is not here: install it") from None
        except subprocess.CalledProcessError as error:
            if quiet:
                return ""
            # What it did before it failed is done.
            words = f"{error.stdout}kubectl {' '.join(arguments)}: {error.stderr.strip()}"
            raise SystemExit(words) from None
        return done.stdout

    def context(self) -> str:
        """Which cluster; SystemExit where there is none."""
        chosen = [one.partition("=")[2] for one in self._command if one.startswith("--context=")]
        if "--context" in self._command[:-1]:
            chosen.append(self._command[self._command.index("--context") + 1])
        return chosen[-1] if chosen else self("config", "current-context").strip()


def read_json(text: str) -> dict[str, Any]:
    """What a call with `-o json` said; {} where it was quiet."""
    found: dict[str, Any] = json.loads(text.strip() or "{}")
    return found
