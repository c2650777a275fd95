"""One container as a local process: its own group, its log in a file, never outliving us.

On Linux the kernel kills the process when the runtime dies (PR_SET_PDEATHSIG). Elsewhere, and for
its grandchildren, the group's id is written down and `sweep` ends what is left at the next start.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "KUBE_POD_UID"
_MEMORY_EVERY_S = 0.5
# Runs in a fresh interpreter, as code between fork and exec is not safe in a threaded process. It
# writes down the group itself, before the program can start others: the runtime may be killed.
_TRAMPOLINE = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)
    if os.getppid() != int(sys.argv[1]):
        os._exit(137)
with open(sys.argv[2], "w") as record:
    record.write(str(os.getpid()))
try:
    os.execvp(sys.argv[3], sys.argv[3:])
except OSError as error:
    print(f"cannot start {sys.argv[3]}: {error}", file=sys.stderr)
    os._exit(128)
"""


class Process:
    """A running container; make it with `start`."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self.pid = child.pid
        self.out_of_memory = False

    @classmethod
    async def start(
        cls, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path, record: Path
    ) -> Process:
        """Start `argv`: its output goes to `log`, its group's id to `record`, both absolute."""
        with open(log, "ab") as output:  # noqa: ASYNC230, PTH123 - opening a file takes no time
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", _TRAMPOLINE),
                *(str(os.getpid()), str(record), *argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        return cls(child)

    async def wait(self, memory_limit: int | None = None) -> int:
        """The exit code as a container's: 128 + n for signal n. Ends it above the limit (bytes)."""
        watch = asyncio.create_task(self._guard(memory_limit)) if memory_limit else None
        try:
            code = await self._child.wait()
        finally:
            if watch:
                watch.cancel()
        self.signal(signal.SIGKILL)  # nothing of a container outlives its first process
        return 128 - code if code < 0 else code

    def signal(self, number: signal.Signals) -> None:
        """Signal the whole group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def _guard(self, limit: int) -> None:
        while True:
            with suppress(psutil.Error):
                first = psutil.Process(self.pid)
                family = [first, *first.children(recursive=True)]
                if sum(one.memory_info().rss for one in family) > limit:
                    self.out_of_memory = True
                    self.signal(signal.SIGKILL)
                    return
            await asyncio.sleep(_MEMORY_EVERY_S)


def sweep(record: Path, uid: str) -> None:
    """End what is left of a group that an earlier runtime started for pod `uid`."""
    try:
        group = int(record.read_text())
    except (FileNotFoundError, ValueError):
        return
    for process in psutil.process_iter():
        # The id may have been given to a stranger since: only the mark proves that it is ours.
        with suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.environ().get(MARK) == uid:
                process.kill()
    record.unlink(missing_ok=True)
