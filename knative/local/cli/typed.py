"""How this program is called here, for hints that can be typed as they stand."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def typed(arguments: str) -> str:
    """A command line of this program with `arguments`."""
    python = Path(sys.executable)
    if shutil.which(python.name) == str(python):
        python = Path(python.name)
    elif python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return f"{python} -m knative.local {arguments}"
