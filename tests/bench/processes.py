"""Processes under measurement: start one, wait until it answers, know what it costs."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Measured:
    """A process that serves at `url`; it answered first after `started_s` seconds."""

    url: str
    pid: int
    started_s: float

    @property
    def resident_mb(self) -> float:
        return float(psutil.Process(self.pid).memory_info().rss) / 1e6


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@asynccontextmanager
async def running(
    *arguments: str, first: bytes = b"GET / HTTP/1.0\r\n\r\n", **environ: str
) -> AsyncIterator[Measured]:
    """Run `python ARGUMENTS`, where `{port}` stands for its port, until its first answer.

    It listens on PORT of `environ`, or on whichever is free.
    """
    port = int(environ.get("PORT") or free_port())
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *(a.replace("{port}", str(port)) for a in arguments)),
        env={"PATH": os.environ["PATH"], "PORT": str(port), "LOG_LEVEL": "WARNING", **environ},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        while not await _answers(port, first):
            if process.returncode is not None:
                raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}")
            await asyncio.sleep(0.002)
        yield Measured(f"http://127.0.0.1:{port}", process.pid, time.perf_counter() - began)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _answers(port: int, request: bytes) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.write(request)
    answer = await reader.read(12)
    writer.close()
    return answer.startswith(b"HTTP/1")


def processor_s(pids: Sequence[int]) -> float:
    """The processor time so far of processes, and of the children that they have or had."""
    used = 0.0
    for process in map(psutil.Process, pids):
        times = process.cpu_times()
        used += times.user + times.system + times.children_user + times.children_system
        for child in process.children():
            with suppress(psutil.NoSuchProcess):  # it has ended: its parent counts it
                used += processor_s([child.pid])
    return used
