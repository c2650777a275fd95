"""Tells, on standard error, of each long turn of an event loop; Python imports it by PYTHONPATH.

Counted is how long a turn keeps others waiting, without the time in which its thread waited for a
processor: a busy machine is no fault. A turn that imports modules does not count: a process
has such turns when it starts, and no others are served before.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import traceback
import types

# Of work: 0.1 s on a machine of its own, and half more where others take its processors' caches.
MAX_TURN_S = 0.15
# Of waiting for a lock, a file or a thread: where others use the disk as well, a commit of a file
# takes hundreds of milliseconds that are no fault of the code.
MAX_BLOCKED_S = 1.0
_LOOK_EVERY_S = 0.05

_uvloop = types.ModuleType("uvloop")  # whose turns cannot be measured
_uvloop.new_event_loop = asyncio.new_event_loop  # type: ignore[attr-defined]
sys.modules["uvloop"] = _uvloop
_turn = asyncio.Handle._run
_schedule = -1
_began = 0.0
_seen = ""  # what the present turn was found at


def _waited_s() -> float:
    return int(os.pread(_schedule, 100, 0).split()[1]) / 1e9


def _begin() -> None:
    """At a process's first turn, as a fork has neither thread nor files of what it was before."""
    global _schedule
    path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
    _schedule = os.open(path, os.O_RDONLY)
    threading.Thread(target=_look, args=(threading.get_ident(),), daemon=True).start()


def _measured(handle: asyncio.Handle) -> None:
    global _began, _seen
    if _schedule < 0:
        _begin()
    _seen = ""
    began = _began = time.perf_counter()
    waited, known, worked = _waited_s(), len(sys.modules), time.thread_time()
    _turn(handle)
    _began = 0.0
    held = time.perf_counter() - began
    if held < MAX_TURN_S or len(sys.modules) > known:
        return
    held -= _waited_s() - waited
    # On a busy machine a turn waits long for threads and files that take no time elsewhere.
    if time.thread_time() - worked > MAX_TURN_S or held > MAX_BLOCKED_S:
        print(f"the event loop was held for {held:.3f} s, at {_seen}", file=sys.stderr)


def _look(thread: int) -> None:
    """Note where a turn is that takes long."""
    global _seen
    while True:
        time.sleep(_LOOK_EVERY_S)
        if _began and not _seen and time.perf_counter() - _began > _LOOK_EVERY_S:
            stack = traceback.extract_stack(sys._current_frames()[thread])
            _seen = " > ".join(
                f"{at.filename}:{at.lineno}" for at in stack if at.filename[:1] == "/"
            )


asyncio.Handle._run = _measured  # type: ignore[method-assign, assignment]
