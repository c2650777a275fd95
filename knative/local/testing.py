"""The local Knative in tests: a pytest fixture, and the classes behind it.

`pytest_plugins = ["knative.local.testing"]` in a conftest.py gives the fixture `local_knative`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from knative.local.cli.client import Client
from knative.local.cli.ingress import send_event
from knative.local.errors import StartError

LOOKS = 10  # in a row that find nothing: an outbox sends after its function has answered
EVERY_S = 0.02


@dataclass
class KnativeProcess:
    """`knative-local up OVERLAY` in a process of its own, on a free port.

    `arguments` are more of `up`, `env` more of its environment, `folder` is where it runs. What
    it prints stands in `data`.log.
    """

    overlay: Path | str
    data: Path
    arguments: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    process: subprocess.Popen[str] | None = None

    def start(self, *, timeout_s: float = 180.0) -> Self:
        """Return when it is ready; AssertionError with its words when it ends instead.

        After `kill` it goes on with its data.
        """
        command = [sys.executable, "-m", "knative.local", "up", str(self.overlay)]
        command += ["--data", str(self.data), "--port", "0", *self.arguments]
        # Ready is what it says itself: runtime.json may be a killed one's.
        (self.data / "runtime.json").unlink(missing_ok=True)
        log = self.data.with_name(f"{self.data.name}.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        env = {**os.environ, **self.env}
        with log.open("a") as output:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=output, stderr=output, text=True, env=env
            )
        deadline = time.monotonic() + timeout_s
        while not (self.data / "runtime.json").exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the local Knative is not ready: {log.read_text()[-2000:]}")
            time.sleep(EVERY_S)
        self.admin = Client(self.data)
        return self

    @property
    def url(self) -> str:
        """The gateway's address."""
        return self.admin.url

    @property
    def token(self) -> str:
        """What the Kubernetes API and the administration ask for."""
        return self.admin.token

    def kill(self) -> None:
        """SIGKILL, as a power cut."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self, timeout_s: float = 30.0) -> int:
        """SIGTERM and wait; the exit code."""
        if self.process is None or self.process.poll() is not None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


@dataclass(frozen=True)
class Delivery:
    """One event for one Trigger; `event` and `attempts` are as in `knative-local event --json`."""

    event: Mapping[str, Any]
    trigger: str
    state: str
    attempts: Sequence[Mapping[str, Any]]
    is_repeated: bool


class LocalKnative(KnativeProcess):
    """A running local Knative: give it events, faults and time, and look at what came of them."""

    def send(
        self,
        type: str,
        data: Any = None,
        *,
        source: str = "/test",
        subject: str | None = None,
        id: str | None = None,
        broker: str | None = None,
        **extensions: str,
    ) -> dict[str, Any]:
        """Send an event; its `id`, the broker's `status`, and the `deliveries` with their states.

        `broker` is namespace/name, by default the only one.
        """
        attributes = {"type": type, "source": source, **extensions}
        attributes |= {"subject": subject} if subject else {}
        attributes |= {"id": id} if id else {}
        text = "" if data is None else json.dumps(data)
        return send_event(self.admin, attributes, text, broker)[0]

    def fire(self, schedule: str) -> dict[str, Any]:
        """Let a PingSource be due now; the `id` of its tick and the `status` of its sink."""
        fired: dict[str, Any] = self._post("fire", name=schedule)
        return fired

    def events(self, **filters: Any) -> list[dict[str, Any]]:
        """Events with their deliveries, oldest first: by type, source, subject, id, trigger, state.

        `limit` is 50 unless it is given.
        """
        found: list[dict[str, Any]] = self.admin.ask("events", **filters)
        return found

    def deliveries(self, **filters: Any) -> list[Delivery]:
        """Each delivery of those events."""
        return [
            Delivery(event, one["trigger"], one["state"], one["attempts"], one["repeated"])
            for event in self.events(**filters)
            for one in event["deliveries"]
        ]

    def wait_until_settled(self, timeout_s: float = 60.0) -> None:
        """Return when nothing is on its way any more, retries included; else AssertionError."""
        deadline, settled = time.monotonic() + timeout_s, 0
        while settled < LOOKS:
            settled = settled + 1 if self.admin.ask("settled")["settled"] else 0
            if not settled and time.monotonic() > deadline:
                raise AssertionError(f"not settled within {timeout_s:g} s: {self.status()}")
            time.sleep(EVERY_S)

    def fault(self, text: str) -> None:
        """Begin a fault, such as `drop-answer trigger=shop/mail nth=1`."""
        self._post("faults", fault=text)

    def clear_faults(self) -> None:
        self._post("faults/clear")

    def advance(self, by: str) -> None:
        """Advance a virtual clock, by `15m` or `3d`; return when all that was due has happened."""
        self._post("clock/advance", by=by)

    def status(self) -> dict[str, Any]:
        """What runs, and the `problems` with it."""
        found: dict[str, Any] = self.admin.ask("status")
        return found

    def log(self, service: str) -> str:
        """What the processes of a Service have printed."""
        return (self.data / "logs" / f"{service}.log").read_text(errors="replace")

    def _post(self, path: str, **query: Any) -> Any:
        answer = self.admin.request("POST", path, **query)
        if not answer.is_success:
            raise StartError(str(answer.json().get("detail", answer.json())))
        return answer.json()


Start = Callable[..., LocalKnative]


@pytest.fixture
def local_knative(tmp_path: Path) -> Iterator[Start]:
    """Starts overlays, each with an empty folder of its own, and stops them after the test.

    `local_knative(folder, *arguments, clock=None, faults=())`: more arguments are those of `up`.
    """
    started: list[LocalKnative] = []

    def start(
        overlay: Path | str, *arguments: str, clock: str | None = None, faults: Sequence[str] = ()
    ) -> LocalKnative:
        given = [*arguments, *(["--clock", clock] if clock else [])]
        given += [word for fault in faults for word in ("--fault", fault)]
        knative = LocalKnative(overlay, tmp_path / f"knative-{len(started)}", given)
        started.append(knative)
        return knative.start()

    try:
        yield start
    finally:
        for knative in started:
            knative.stop()
