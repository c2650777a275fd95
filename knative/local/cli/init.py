"""`init`: write the small example of a Broker, a function, a Trigger and a schedule."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path

from knative.local.cli.typed import typed
from knative.local.errors import StartError

EXAMPLE = Path(__file__).resolve().parents[1] / "example"


def init(arguments: argparse.Namespace) -> int:
    """Write the files; StartError, and none is written, where one of them exists."""
    folder = Path(arguments.folder)
    files = [file for file in sorted(EXAMPLE.iterdir()) if file.is_file()]
    for file in files:
        if (folder / file.name).exists():
            raise StartError(f"{folder / file.name} exists; give another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            (folder / file.name).write_text(file.read_text())
    except OSError as error:
        raise StartError(f"cannot write to {folder}: {error}") from None
    if arguments.json:
        print(json.dumps({"written": [str(folder / file.name) for file in files]}))
        return 0
    print(f"Wrote {', '.join(str(folder / file.name) for file in files)}. Next:")
    print(f"  {typed('up')} {shlex.quote(str(folder))}")
    print(f'  {typed("send")} --type com.example.greeting --event-data \'{{"name": "Ada"}}\'')
    print(f"  {typed('events')}")
    return 0
