"""`logs`: what the processes have printed, and print."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from knative.local.cli.log_tail import EVERY_S, LogTail, last_lines
from knative.local.cli.log_tail import logs as files
from knative.local.cli.terminal import plain, say
from knative.local.errors import StartError


def logs(arguments: argparse.Namespace) -> int:
    """The last lines of each log, then with --follow each new one; needs nothing that runs."""
    data = Path(arguments.data)
    found = files(data)
    if unknown := [name for name in arguments.services if name not in found]:
        there = ", ".join(found) or f"none below {data}"
        raise StartError(f"there is no log of {', '.join(unknown)}; there are: {there}")
    if not found and not arguments.follow:
        raise StartError(f"there are no logs below {data}")
    names = set(arguments.services or found)
    tail = LogTail(data, set(arguments.services) or None)
    for name, file in found.items():
        if name in names:
            for line in last_lines(file, arguments.lines):
                _line(arguments, name, line, alone=len(names) == 1)
    while arguments.follow:
        time.sleep(EVERY_S)
        for name, line in tail.new():
            _line(arguments, name, line, alone=len(arguments.services) == 1)
    return 0


def _line(arguments: argparse.Namespace, name: str, line: str, *, alone: bool) -> None:
    if arguments.json:
        say(json.dumps({"service": name, "line": line}))
    else:
        say(plain(line) if alone else plain(f"{name}: {line}"))
