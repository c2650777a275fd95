"""A Service for tests, standard library only: says what it was asked, and does as asked.

The environment directs it: CRASH ends it at once, SLOW_START_S delays its port. A request's
query directs the answer: status, sleep_s, reply (a CloudEvent type), die, leave (it ends a moment
after its port is closed), every_s (a pause before each of three parts of the body).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        orders = dict(parse_qsl(url.query))
        body = self._body()
        if url.path == "/health":
            return self._answer(200, b"")
        if record := os.environ.get("RECORD"):
            with Path(record).open("a") as file:
                seen = {"headers": dict(self.headers), "body": body.decode(errors="replace")}
                file.write(json.dumps({**seen, "path": self.path}) + "\n")
        if "die" in orders:
            os.kill(os.getpid(), signal.SIGKILL)
        if "leave" in orders:
            self.close_connection = True
            assert isinstance(self.server, ThreadingHTTPServer)
            self.server.socket.shutdown(socket.SHUT_RDWR)
            threading.Timer(0.3, os._exit, [1]).start()
        time.sleep(float(orders.get("sleep_s", 0)))
        if "every_s" in orders:
            return self._trickle(float(orders["every_s"]))
        if "reply" in orders:
            return self._answer(
                200,
                b"",
                {
                    "ce-specversion": "1.0",
                    "ce-id": "reply-1",
                    "ce-type": orders["reply"],
                    "ce-source": "/echo",
                },
            )
        if self.headers.get("ce-id"):
            return self._answer(int(orders.get("status", 202)), b"")
        answer: dict[str, object] = {
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": body.decode(errors="replace"),
            "env": {**os.environ},
            "argv": sys.argv,
            "pid": os.getpid(),
        }
        self._answer(int(orders.get("status", 200)), json.dumps(answer).encode())

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815  # the names are http.server's

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("transfer-encoding", ""):
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        if self.close_connection:
            self.send_header("Connection", "close")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _trickle(self, every_s: float) -> None:
        self.send_response(200)
        self.send_header("content-length", "3")
        self.end_headers()
        for _ in range(3):
            time.sleep(every_s)
            self.wfile.write(b".")
            self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """No access log."""


def main() -> None:
    if message := os.environ.get("CRASH"):
        raise SystemExit(f"RuntimeError: {message}")
    time.sleep(float(os.environ.get("SLOW_START_S", 0)))
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Echo)
    server.request_queue_size = 128
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server.serve_forever()


if __name__ == "__main__":
    main()
