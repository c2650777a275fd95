"""kubectl, with the context of its user."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import Any


class Kubectl:
    """kubectl; `command` may have options. A failed call exits with kubectl's message."""

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)

    def __call__(self, *arguments: str, stdin: str | None = None, quiet: bool = False) -> str:
        """Return its output; where it fails SystemExit with its message, or "" if `quiet`."""
        command = [*self._command, *arguments]
        try:
            done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=True)
        except FileNotFoundError:
            raise SystemExit(f"{command[0]} is not installed") from None
        except subprocess.CalledProcessError as error:
            if quiet:
                return ""
            # Its output names the objects that it has applied before.
            message = f"{error.stdout}kubectl {' '.join(arguments)}: {error.stderr.strip()}"
            raise SystemExit(message) from None
        return done.stdout

    def context(self) -> str:
        """Return the name of the context; SystemExit where there is none."""
        options = [arg.partition("=")[2] for arg in self._command if arg.startswith("--context=")]
        if "--context" in self._command[:-1]:
            options.append(self._command[self._command.index("--context") + 1])
        return options[-1] if options else self("config", "current-context").strip()


def read_json(text: str) -> dict[str, Any]:
    """Read the output of a call with `-o json`; {} where it is empty."""
    body: dict[str, Any] = json.loads(text.strip() or "{}")
    return body
