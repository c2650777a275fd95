"""`down` and `clean`: stop what runs on a data directory, and delete it.

What a killed runtime left behind is stopped as well.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from pathlib import Path

import psutil

from knative.local import data_folder
from knative.local.errors import StartError
from knative.local.lock import DataLock
from knative.local.postgres import stop_left
from knative.local.processes import sweep

WITHIN_S = 660.0  # a process may drain for ten minutes
EVERY_S = 0.05


def clean(arguments: argparse.Namespace) -> int:
    """Stop all of it and delete the folder, if it is marked as ours."""
    data = Path(arguments.data)
    data_folder.check_deletable(data)
    down(arguments)
    if data_folder.delete(data) and not arguments.json:
        print(f"deleted {data}")
    return 0


def down(arguments: argparse.Namespace) -> int:
    """Stop the runtime, its processes and its PostgreSQL; the data stay."""
    data = Path(arguments.data).resolve()
    lock = DataLock(data)
    stopped = []
    if pid := lock.owner():
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended just now
            psutil.Process(pid).terminate()
        deadline = time.monotonic() + WITHIN_S
        while lock.owner() == pid:
            if time.monotonic() > deadline:
                raise StartError(f"the local Knative (pid {pid}) did not stop in {WITHIN_S:g} s")
            time.sleep(EVERY_S)
        stopped.append("the local Knative")
    sweep(data / "pids.json")
    if stop_left(data):
        stopped.append("PostgreSQL")
    if arguments.json:
        print(json.dumps({"stopped": stopped}))
    else:
        print(f"stopped {' and '.join(stopped)}" if stopped else f"nothing runs on {data}")
    return 0
