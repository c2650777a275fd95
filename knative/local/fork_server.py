"""A Python process that has imported what a program needs, and forks itself for each start of it.

Imports are most of what a start costs; forks share them, and their memory. `forks` runs it as
`python -m knative.local.fork_server FD MODULE:FUNCTION MODULE...` and asks on that socket, with one
JSON object a line; it answers in the same way, once for each request and once for each end:

    {"env": {...}, "cwd": "...", "log": "...", "argv": [...]}   {"pid": 5}, {"outdated": true}
                                                                {"pid": 5, "code": -9}
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


def main(fd: int, entry: str, *preloaded: str) -> int:
    """Serve until the socket is closed; in a fork, the result of the entry."""
    die_with_parent(os.getppid())
    asked = socket.socket(fileno=fd)
    module, _, name = entry.partition(":")
    call: Callable[[], int] = getattr(importlib.import_module(module), name)
    for other in preloaded:
        importlib.import_module(other)
    code = _times_of_code()
    gc.collect()
    gc.freeze()  # what is shared stays shared: the collector would write to it
    for request in _requests(asked):
        if _times_of_code() != code:
            _answer(asked, {"outdated": True})
            continue
        server = os.getpid()
        pid = os.fork()
        if not pid:
            asked.close()
            _become(request, server)
            return call()
        _answer(asked, {"pid": pid})
    return 0


def _requests(asked: socket.socket) -> Iterator[dict[str, Any]]:
    """Each request; between them the ends of forks are reported."""
    ended, wake = socket.socketpair()
    for end in (ended, wake):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as ready:
        ready.register(asked, selectors.EVENT_READ)
        ready.register(ended, selectors.EVENT_READ)
        waiting = b""
        while True:
            for key, _ in ready.select():
                if key.fileobj is ended:
                    ended.recv(4096)
                    _report_ends(asked)
                    continue
                try:
                    received = asked.recv(1 << 16)
                except ConnectionResetError:
                    return
                if not received:
                    return
                *lines, waiting = (waiting + received).split(b"\n")
                yield from map(json.loads, lines)


def _report_ends(asked: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while (end := os.waitpid(-1, os.WNOHANG))[0]:
            _answer(asked, {"pid": end[0], "code": os.waitstatus_to_exitcode(end[1])})


def _answer(asked: socket.socket, answer: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        asked.sendall(json.dumps(answer).encode() + b"\n")


def _times_of_code() -> dict[str, int]:
    """When each module's file outside of the installed packages was last changed; 0: it is gone."""
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    return {
        file: _changed_at(file)
        for file in files
        if file and "site-packages" not in file and not file.startswith(sys.base_prefix)
    }


def _changed_at(file: str) -> int:
    try:
        return Path(file).stat().st_mtime_ns
    except OSError:
        return 0


def _become(request: dict[str, Any], parent: int) -> None:
    """Make a fork the process that was asked for."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    die_with_parent(parent)
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    sys.argv = request["argv"]


def die_with_parent(parent: int) -> None:
    """On Linux the kernel kills this process when `parent` dies, even by SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died in between
            os._exit(1)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
