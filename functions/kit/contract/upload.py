"""The body of a request that is not yet authenticated: in time, in bounds, and not all in memory.

What a process keeps of all such bodies together has one limit in memory and one on disk; a body
beyond `SPOOL_BYTES` is in a file. A sender who is slower than `MIN_BYTES_PER_S`, after some seconds
of grace, or has not ended by the deadline, is cut off.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO, Protocol

from starlette.requests import Request

from functions.kit.contract.body import TooLarge, TooSlow, declares_more, next_chunk
from functions.kit.errors import TemporaryError

SPOOL_BYTES = 256 * 1024
DEADLINE_S = 15.0
GRACE_S = 5.0
MIN_BYTES_PER_S = 1024


class Proof(Protocol):
    """What a body proves by its bytes."""

    def update(self, chunk: bytes, /) -> None:
        """Take more of the body."""

    def check(self) -> None:
        """Raise a `PermanentError` where the body that has come proves nothing."""


class Budget:
    """So many bytes for all bodies of a process; `TemporaryError` where they are used up."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes

    def take(self, size: int) -> None:
        if size > self._left:
            raise TemporaryError("too much is being received at once", delay_s=5)
        self._left -= size

    def give_back(self, size: int) -> None:
        self._left += size


class Uploads:
    """The bodies that a process receives at the moment."""

    def __init__(self, max_memory_bytes: int, max_disk_bytes: int) -> None:
        self._memory = Budget(max_memory_bytes)
        self._disk = Budget(max_disk_bytes)
        # Of what is large, one at a time is whole in memory, as it must be to be understood.
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def received(
        self, request: Request, max_bytes: int, proof: Proof | None, *, setting: str = ""
    ) -> AsyncIterator[Upload]:
        """A body that has come whole, and is proved where there is a proof to give. `setting` says
        `max_bytes`.

        `TooLarge`, `TooSlow`, `CutShort`; `TemporaryError` where others fill what there is.
        """
        if declares_more(request.scope, max_bytes):
            raise TooLarge(request.scope, max_bytes, setting)
        upload = Upload(self._memory, self._disk, self._turn)
        try:
            await _receive(request, max_bytes, upload, proof, setting)
            if proof is not None:
                proof.check()
            yield upload
        finally:
            upload.close()


class Upload:
    """One body: its beginning in memory, or all of it in a file."""

    def __init__(self, memory: Budget, disk: Budget, turn: asyncio.Lock) -> None:
        self._memory, self._disk, self._turn = memory, disk, turn
        self._file: IO[bytes] | None = None
        self._chunks: list[bytes] = []
        self.size = 0
        self._held = 0

    def add(self, chunk: bytes) -> None:
        size = self.size + len(chunk)
        if self._file is None and size <= SPOOL_BYTES:
            self._memory.take(len(chunk))
            self._held += len(chunk)
            self._chunks.append(chunk)
        else:
            self._spool(size if self._file is None else len(chunk))
            assert self._file is not None, "it is spooled"
            self._file.write(chunk)
        self.size = size

    def _spool(self, size: int) -> None:
        self._disk.take(size)
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the upload
            self._file.writelines(self._chunks)
            self._chunks.clear()
            self._memory.give_back(self._held)
            self._held = 0

    @asynccontextmanager
    async def whole(self) -> AsyncIterator[bytes]:
        """The body in one piece; of large ones one at a time."""
        if self._file is None:
            yield b"".join(self._chunks)
            return
        async with self._turn:
            yield await asyncio.to_thread(_content, self._file)

    def close(self) -> None:
        """Give back what it took."""
        self._memory.give_back(self._held)
        if self._file is not None:
            self._disk.give_back(self.size)
            self._file.close()


async def _receive(
    request: Request, max_bytes: int, upload: Upload, proof: Proof | None, setting: str
) -> None:
    now = asyncio.get_running_loop().time
    began, is_complete = now(), False
    while not is_complete:
        due = min(began + DEADLINE_S, began + GRACE_S + upload.size / MIN_BYTES_PER_S)
        try:
            async with asyncio.timeout_at(due):
                chunk, is_complete = await next_chunk(request)
        except TimeoutError:
            took = f"{upload.size} bytes in {now() - began:.0f} s"
            raise TooSlow(f"the body comes too slowly: {took}") from None
        if upload.size + len(chunk) > max_bytes:
            raise TooLarge(request.scope, max_bytes, setting)
        upload.add(chunk)
        if proof is not None:
            proof.update(chunk)


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()
