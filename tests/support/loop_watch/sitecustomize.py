"""Writes down each long turn of an event loop, and what the transaction guard finds.

`tests.support.watched` begins it in one process. Each process below imports it by PYTHONPATH, and
writes into the file that LOOP_WATCH names. Limited is the processor time of the loop's own thread,
as a busy machine is no fault. A turn that imports modules does not count until the process has
answered its first request, as no others wait for it before.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import time
import traceback
import types
from pathlib import Path
from typing import Any

# Twice what a turn may take: a slow machine, or another one on the same core, halves the speed of a
# processor, and its time does not show that.
MAX_TURN_S = 0.2
# Of waiting for a lock, a file or a thread: where others use the disk as well, a commit of a file
# takes hundreds of milliseconds that are no fault of the code.
MAX_BLOCKED_S = 1.0
_LOOK_EVERY_S = 0.05
_FIXTURES = "/knative/local/testing.py:"  # for tests: they wait on the test's own loop
_GUARD = "functions.kit.clients.transaction_guard"
_UVICORN = "uvicorn.protocols.http.httptools_impl"

_turn = asyncio.Handle._run
_popen = subprocess.Popen.__init__


class Watch(logging.Handler):
    """Over the event loop of a process's first thread that has one; `file` gets the findings.

    With folders `within`, which is for a process that runs tests, only work in them counts: a test
    may wait on its loop, and what a collection of garbage takes is by all that tests hold.
    """

    def __init__(self, file: Path, *within: Path) -> None:
        super().__init__()
        self._file = file
        self._within = tuple(f"{folder}/" for folder in within)
        self._pid = self._thread = self._schedule = -1
        self._began = 0.0
        self._seen = ""  # what the present turn was found at
        self._ours = False  # is that in one of the folders?
        self._collecting = self._collected = 0.0  # since when, and how long in the present turn
        self._serves: Any = None  # uvicorn's protocol, once it is watched for answers
        self._has_answered = False

    def begin(self) -> None:
        watch = self

        def run(handle: asyncio.Handle) -> None:
            watch._measure(handle)

        def popen(process: Any, *arguments: Any, **options: Any) -> None:
            _popen(process, *arguments, **{**options, "env": watch._environ(options.get("env"))})

        self._before = asyncio.Handle._run, subprocess.Popen.__init__
        asyncio.Handle._run = run  # type: ignore[method-assign, assignment]
        subprocess.Popen.__init__ = popen  # type: ignore[method-assign, assignment]
        logging.getLogger(_GUARD).addHandler(self)
        if self._within:
            gc.callbacks.append(self._collects)

    def end(self) -> None:
        asyncio.Handle._run, subprocess.Popen.__init__ = self._before  # type: ignore[method-assign]
        logging.getLogger(_GUARD).removeHandler(self)
        if self._within:
            gc.callbacks.remove(self._collects)

    def _collects(self, phase: str, _: object) -> None:
        if threading.get_ident() != self._thread:
            return
        if phase == "start":
            self._collecting = time.thread_time()
        else:
            self._collected += time.thread_time() - self._collecting

    def emit(self, record: logging.LogRecord) -> None:
        self._found(record.getMessage())

    def _environ(self, given: Any) -> dict[str, str]:
        """Of a process that this one starts: it is watched, whatever it is given."""
        env = {**(os.environ if given is None else given)}
        path = (str(Path(__file__).resolve().parent), env.get("PYTHONPATH", ""))
        return env | {
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "LOOP_WATCH": str(self._file),
        }

    def _measure(self, handle: asyncio.Handle) -> None:
        if self._pid != os.getpid():  # a fork has neither threads nor files of what it was before
            self._attach()
        if threading.get_ident() != self._thread:
            _turn(handle)
            return
        if self._serves is None and not self._within and _UVICORN in sys.modules:
            self._watch_answers(sys.modules[_UVICORN].HttpToolsProtocol)
        self._seen, self._ours, self._collected = "", False, 0.0
        may_import = not self._has_answered
        began = self._began = time.perf_counter()
        waited, known, worked = self._waited_s(), len(sys.modules), time.thread_time()
        _turn(handle)
        self._began = 0.0
        held = time.perf_counter() - began
        if held < MAX_TURN_S or (may_import and len(sys.modules) > known):
            return
        worked = time.thread_time() - worked
        blocked = held - (self._waited_s() - waited)
        if self._within:
            found = self._ours and worked - self._collected > MAX_TURN_S
        else:
            found = worked > MAX_TURN_S or blocked > MAX_BLOCKED_S
        if found:
            times = f"{held:.3f} s, {worked:.3f} of them at work"
            self._found(f"the event loop was held for {times}, at {self._seen}")

    def _watch_answers(self, protocol: Any) -> None:
        self._serves, completed = protocol, protocol.on_response_complete

        def on_response_complete(connection: Any) -> None:
            self._has_answered = True
            completed(connection)

        protocol.on_response_complete = on_response_complete

    def _attach(self) -> None:
        self._pid, self._thread = os.getpid(), threading.get_ident()
        self._has_answered = False
        path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
        self._schedule = os.open(path, os.O_RDONLY)
        threading.Thread(target=self._look, daemon=True).start()

    def _waited_s(self) -> float:
        """How long the thread has waited for a processor."""
        return int(os.pread(self._schedule, 100, 0).split()[1]) / 1e9

    def _look(self) -> None:
        """Note where a turn is that takes long."""
        while True:
            time.sleep(_LOOK_EVERY_S)
            began = self._began
            if began and not self._seen and time.perf_counter() - began > _LOOK_EVERY_S:
                # No sources are read for it: that would outlast the turn.
                stack = [*traceback.walk_stack(sys._current_frames()[self._thread])][::-1]
                places = [f"{at.f_code.co_filename}:{line}" for at, line in stack]
                places = [place for place in places if place[:1] == "/"]
                if self._began != began:
                    continue  # another turn by now
                ours = any(place.startswith(self._within) for place in places)
                self._ours = ours and not any(_FIXTURES in place for place in places)
                self._seen = " > ".join(places[-12:])

    def _found(self, message: str) -> None:
        name = os.environ.get("K_SERVICE") or " ".join(sys.argv)
        with self._file.open("a") as file:
            file.write(f"{name}: {message}\n")


if file := os.environ.get("LOOP_WATCH"):
    uvloop = types.ModuleType("uvloop")  # whose turns cannot be measured
    uvloop.new_event_loop = asyncio.new_event_loop  # type: ignore[attr-defined]
    sys.modules["uvloop"] = uvloop
    Watch(Path(file)).begin()
