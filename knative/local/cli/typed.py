"""How this program is called here, for hints that can be typed as they stand."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def typed(arguments: str) -> str:
    """A command line of this program with `arguments`."""
    python = Path(sys.executable)
    script = python.with_name("knative-local")
    if script.exists():
        return f"{_shortest(script)} {arguments}"
    return f"{_shortest(python)} -m knative.local {arguments}"


def _shortest(program: Path) -> str:
    found = shutil.which(program.name)  # pipx and uv put a link into PATH
    if found and str(program) in (found, str(Path(found).resolve())):
        return program.name
    if program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    return shlex.quote(str(program))
