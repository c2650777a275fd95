"""The proxy of agents as a process: it reads the shipped lists, and logs as Squid does.

    python -m tests.support.egress_standin code=3128 python=3129

What a list allows is answered as connected, and closed: nothing leaves this machine.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from functools import partial
from pathlib import Path

COMPONENT = Path(__file__).resolve().parents[2] / "knative" / "jobs" / "egress"
_ALLOWED = re.compile(r"http_access allow (?:on_(\w+) )?to_(\w+) !inside")


def lists() -> dict[str, set[str]]:
    """The host names of each list, by the rules of squid.conf."""
    config = (COMPONENT / "squid.conf").read_text()
    names = re.findall(r"^http_port \d+ name=(\w+)$", config, re.MULTILINE)
    found: dict[str, set[str]] = {name: set() for name in names}
    for only, file in _ALLOWED.findall(config):
        lines = (COMPONENT / "hosts" / f"{file}.txt").read_text().splitlines()
        hosts = {line for line in lines if line and not line.startswith("#")}
        for name in [only] if only else names:
            found[name] |= hosts
    return found


async def serve(name: str, port: int) -> None:
    """Answer the requests of one list."""
    server = await asyncio.start_server(partial(_answer, lists()[name], port), "127.0.0.1", port)
    await server.serve_forever()


async def _answer(
    hosts: set[str], port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    method, target, *_ = request.split()
    host, _, to = target.rpartition(":")
    if method == "CONNECT" and to == "443" and host in hosts:
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        print(f"refused {time.time():.3f} 127.0.0.1 {port} {host or target}:{to}", flush=True)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    writer.close()


async def _main(arguments: list[str]) -> None:
    pairs = [one.partition("=") for one in arguments]
    await asyncio.gather(*(serve(name, int(port)) for name, _, port in pairs))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
