"""The terminal that the demo prints on."""

from __future__ import annotations

import os
import sys
from typing import Any

import rich.console


class Console(rich.console.Console):
    """Shows text as it is; goes silent, and on, when nobody reads it any more (`| head`)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, emoji=False, **options)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # what Python flushes at its end
        os.close(nowhere)
