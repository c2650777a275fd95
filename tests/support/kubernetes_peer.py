"""A peer that answers as a Kubernetes API may: a real socket, with what a test tells it to say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import eventually

SILENCE = -1


@dataclass(frozen=True)
class Say:
    """One answer; a status of 0 closes the connection without a word, SILENCE keeps it open."""

    status: int
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


@dataclass
class KubePeer:
    """Answers the requests one after the other; the last answer is given for ever.

    `judge`, given method and path and the body, answers before these, where it says anything. A
    watch is not among the requests where it `watches`: it sees what `change` is given.
    """

    answers: list[Say]
    folder: Path
    port: int = 0
    requests: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    judge: Callable[[str, Any], Say | None] = lambda request, body: None
    watches: bool = True
    _watchers: dict[str, list[asyncio.StreamWriter]] = field(default_factory=dict)

    async def change(self, plural: str, kind: str, body: Mapping[str, Any]) -> None:
        """Tell those who watch a kind that an object is `ADDED`, `MODIFIED` or `DELETED`."""

        async def is_watched() -> bool:
            return bool(self._watchers.get(plural))

        await eventually(is_watched)
        line = json.dumps({"type": kind, "object": body}).encode() + b"\n"
        for writer in self._watchers[plural]:
            writer.write(b"%x\r\n%s\r\n" % (len(line), line))
            await writer.drain()

    async def _watch(
        self, plural: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = "HTTP/1.1 200 X\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked"
        writer.write(head.encode() + b"\r\n\r\n")
        await writer.drain()
        self._watchers.setdefault(plural, []).append(writer)
        await reader.read()
        self._watchers[plural].remove(writer)

    @property
    def kubeconfig(self) -> str:
        """A kubeconfig file that leads here; its token may be changed with `write_token`."""
        return str(self.folder / "kubeconfig")

    def write_token(self, token: str) -> None:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        Path(self.kubeconfig).write_text(json.dumps(config))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *rest = head.split("\r\n")
            path, _, query = line.split(" ")[1].partition("?")
            if self.watches and "watch=true" in query:
                await self._watch(path.rpartition("/")[2], reader, writer)
                return
            headers = {k.lower(): v.strip() for k, _, v in (one.partition(":") for one in rest)}
            raw = await reader.readexactly(int(headers.get("content-length", "0")))
            self.requests.append(line.rpartition(" ")[0])
            self.tokens.append(headers.get("authorization", ""))
            self.traces.append(headers.get("traceparent", ""))
            self.bodies.append(json.loads(raw) if raw else None)
            say = self.judge(self.requests[-1], self.bodies[-1])
            if say is None:
                say = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if say.status == SILENCE:
                await reader.read()
            elif say.status:
                writer.write(_answer(say))
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


def _answer(say: Say) -> bytes:
    body = say.body or {"kind": "Status", "message": say.message, "code": say.status}
    raw = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {say.status} X", "Content-Type: application/json", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in say.headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(raw)}", "", ""]).encode() + raw


@asynccontextmanager
async def kube_peer(folder: Path, *answers: Say) -> AsyncIterator[KubePeer]:
    """A peer on a free port that will say `answers`."""
    peer = KubePeer(list(answers), folder)
    server = await asyncio.start_server(peer._serve, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    peer.write_token("first")
    async with server:
        try:
            yield peer
        finally:
            for watchers in peer._watchers.values():
                for writer in watchers:
                    writer.close()
