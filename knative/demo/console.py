"""The terminal of the demo."""

from __future__ import annotations

import os
import sys
from typing import Any

import rich.console


class Console(rich.console.Console):
    """Print text without highlighting; go on silently after a broken pipe (`| head`)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, emoji=False, **options)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())  # Python flushes it at exit
        os.close(devnull)
