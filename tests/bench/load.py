"""A load generator with no cleverness: one request over N kept connections, then the times.

In headers and body `{n}` becomes the request's number; with a secret, `{hmac}` in headers becomes
the body's HMAC SHA-256.

It runs as a process of its own, so that it costs the measured process nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Load:
    """Answers per second, latency in milliseconds, and how many answers were not 2xx."""

    rate: float
    p50_ms: float
    p99_ms: float
    failed: int


async def load(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    requests: int,
    connections: int,
    rate: float = 0,
    secret: str = "",
) -> Load:
    """Send `requests` POSTs to `url` from another process, as fast as they are answered.

    With a `rate`, so many begin in each second; their times count from when they were due.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.load", url),
        *("--requests", str(requests), "--connections", str(connections)),
        *("--headers", json.dumps(dict(headers)), "--rate", str(rate)),
        *("--secret", secret),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(body)
    if process.returncode:
        raise RuntimeError(f"the load generator failed against {url}")
    return Load(**json.loads(output))


def _request(url: str, headers: Mapping[str, str], body: bytes, number: int, secret: str) -> bytes:
    parts = urlsplit(url)
    body = body.replace(b"{n}", str(number).encode())
    signature = hmac.digest(secret.encode(), body, "sha256").hex() if secret else ""
    path = f"{parts.path or '/'}?{parts.query}".removesuffix("?")
    lines = [f"POST {path} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [
        f"{name}: {value.replace('{n}', str(number)).replace('{hmac}', signature)}"
        for name, value in headers.items()
    ]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


async def _answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    lower = head.lower()
    at = lower.find(b"content-length:")
    if at >= 0:
        length = int(lower[at + 15 : lower.index(b"\r", at)])
        if length:
            await reader.readexactly(length)
    elif b"transfer-encoding" in lower:
        await reader.readuntil(b"0\r\n\r\n")
    return int(head[9:12])


async def _run(arguments: argparse.Namespace, body: bytes) -> Load:
    headers = json.loads(arguments.headers)
    parts = urlsplit(arguments.url)
    numbers = iter(range(arguments.requests))
    times: list[float] = []
    failed = 0

    async def one_connection() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
        for number in numbers:
            request = _request(arguments.url, headers, body, number, arguments.secret)
            sent = time.perf_counter()
            if arguments.rate:
                due = began + number / arguments.rate
                if due > sent:
                    await asyncio.sleep(due - sent)
                sent = due
            writer.write(request)
            status = await _answer(reader)
            times.append(time.perf_counter() - sent)
            failed += not 200 <= status < 300
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(one_connection() for _ in range(arguments.connections)))
    took = time.perf_counter() - began
    cuts = statistics.quantiles(times, n=100)
    return Load(len(times) / took, cuts[49] * 1000, cuts[98] * 1000, failed)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.load", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0, help="per second; 0: flat out")
    parser.add_argument("--headers", default="{}", help="JSON")
    parser.add_argument("--secret", default="", help="of the HMAC")
    arguments = parser.parse_args()
    body = sys.stdin.buffer.read()
    try:
        import uvloop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    except ImportError:
        runner = asyncio.Runner()
    with runner:
        print(json.dumps(runner.run(_run(arguments, body)).__dict__))


if __name__ == "__main__":
    main()
