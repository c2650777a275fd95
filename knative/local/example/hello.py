"""Answers each CloudEvent with one of its own: nothing but Python's standard library."""

import json
import os
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = json.loads(body or b"{}").get("name", "you")
        print(f"{self.headers.get('ce-type')} from {self.headers.get('ce-source')}: hello, {name}")
        answer = json.dumps({"message": f"hello, {name}"}).encode()
        self.send_response(200)
        for header, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(answer)),
            "ce-specversion": "1.0",
            "ce-id": str(uuid.uuid4()),
            "ce-type": "com.example.answer",
            "ce-source": "/hello",
        }.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """No access log."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(os.environ["PORT"])), Hello).serve_forever()
