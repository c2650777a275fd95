"""The program of Jobs that ask a function once: what it tries again, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import stamina

from functions.kit.process.post import GAVE_UP, OK, REFUSED, main


@dataclass
class Peer:
    """Answers with its statuses in order, the last one for ever; remembers what it was asked."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [200])
    asked: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture(autouse=True)
def patient() -> Iterator[None]:
    """Other tests here want one attempt; this one is about the attempts."""
    with stamina.set_testing(False):
        yield


@pytest.fixture
def peer() -> Iterator[Peer]:
    received = Peer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.asked.append(({k.lower(): v for k, v in self.headers.items()}, body))
            status = (
                received.statuses.pop(0) if len(received.statuses) > 1 else received.statuses[0]
            )
            answer = json.dumps({"detail": f"this is {status}"}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    received.url = f"http://127.0.0.1:{server.server_port}/"
    yield received
    server.shutdown()
    server.server_close()


def test_it_posts_the_data_and_shows_the_answer(
    peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([peer.url, "--data", '{"project_id": "A"}']) == OK
    headers, body = peer.asked[0]
    assert json.loads(body) == {"project_id": "A"}
    assert headers["content-type"] == "application/json"
    assert "this is 200" in capsys.readouterr().out


@pytest.mark.parametrize("status", [404, 408, 409, 429, 500, 503])
def test_what_may_pass_is_tried_again_under_the_same_key(peer: Peer, status: int) -> None:
    peer.statuses = [status, 202]
    assert main([peer.url, "--within", "20"]) == OK
    keys = {headers["idempotency-key"] for headers, _ in peer.asked}
    assert (len(peer.asked), len(keys)) == (2, 1)


@pytest.mark.parametrize("status", [400, 401, 422])
def test_a_refusal_ends_it_at_once_with_a_reason(
    peer: Peer, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    peer.statuses = [status]
    assert main([peer.url]) == REFUSED
    assert len(peer.asked) == 1
    assert f"this is {status}" in capsys.readouterr().err


def test_a_missing_server_is_given_up_in_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:1/", "--within", "0.5"]) == GAVE_UP
    assert "gave up after 0.5 s" in capsys.readouterr().err


def test_data_that_is_no_json_is_refused_before_anything_is_sent(peer: Peer) -> None:
    with pytest.raises(SystemExit):
        main([peer.url, "--data", "{broken"])
    assert peer.asked == []
