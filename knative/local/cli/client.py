"""Talks to the running runtime; it is found through runtime.json in the data directory.

The standard library's client, as importing any other takes longer than most requests.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from knative.local.cli.typed import typed
from knative.local.errors import StartError, UsageError

TIMEOUT_S = 900.0  # an ingress answers after all deliveries, retries included


@dataclass(frozen=True)
class Answer:
    """A whole answer of the runtime."""

    status: int
    content_type: str
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """ValueError or RecursionError if the body is not JSON."""
        return json.loads(self.body)


class Client:
    """Raises StartError when no runtime answers."""

    def __init__(self, data: Path) -> None:
        file = data / "runtime.json"
        try:
            found = json.loads(file.read_text())
            self.url, self.token = str(found["url"]), str(found["token"])
            self.pid = int(found["pid"])
        except PermissionError:
            raise StartError(f"{file} may be read by its owner only") from None
        except (OSError, ValueError, KeyError, TypeError):
            message = f"no local Knative runs on {data}; start one with `{typed('up')}`"
            raise StartError(message) from None

    def ask(self, path: str, **query: Any) -> Any:
        """The JSON that the runtime answers to GET /_knative/`path`."""
        return self.done("GET", path, **query)

    def done(self, method: str, path: str, **query: Any) -> Any:
        """The JSON of a success; StartError, or UsageError where the query is wrong."""
        answer = self.request(method, path, **query)
        if not answer.is_success:
            error = UsageError if answer.status == 422 else StartError
            raise error(answer.json().get("detail") or f"{self.url} answers {answer.status}")
        return answer.json()

    def request(self, method: str, path: str, **query: Any) -> Answer:
        """The runtime's answer to /_knative/`path`, whatever its status."""
        answer = self.send(method, _admin(path, query))
        if answer.status >= 500 and "application/json" not in answer.content_type:
            message = f"the local Knative at {self.url} failed on {path}: {answer.status}"
            raise StartError(f"{message}; what `up` prints says why")
        try:
            answer.json()
        except (ValueError, RecursionError):
            message = f"what answers at {self.url} is no local Knative; start one with "
            raise StartError(f"{message}`{typed('up')}`") from None
        return answer

    def send(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        """The answer of the gateway to any request."""
        response = self._open(method, target, body, headers)
        try:
            content = response.read()
        except (http.client.HTTPException, OSError) as error:
            raise self._away(error) from None
        return Answer(response.status, response.getheader("content-type", ""), content)

    def lines(self, path: str, **query: Any) -> Iterator[str]:
        """Each line of an answer without an end, until the runtime stops."""
        response = self._open("GET", _admin(path, query), timeout_s=None)
        try:
            for line in response:
                yield line.decode().rstrip("\n")
        except (http.client.HTTPException, OSError):
            return

    def _open(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] = {},
        timeout_s: float | None = TIMEOUT_S,
    ) -> http.client.HTTPResponse:
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout_s)
        try:
            connection.request(
                method, target, body, {"Authorization": f"Bearer {self.token}", **headers}
            )
            return connection.getresponse()
        except (http.client.HTTPException, OSError) as error:
            raise self._away(error) from None

    def _away(self, error: Exception) -> StartError:
        if isinstance(error, ConnectionRefusedError):
            message = "has ended without a word; start it again with"
            return StartError(f"the local Knative at {self.url} {message} `{typed('up')}`")
        return StartError(f"the local Knative at {self.url} does not answer: {error}")


def _admin(path: str, query: Mapping[str, Any]) -> str:
    given = {key: value for key, value in query.items() if value is not None}
    return f"/_knative/{path}{'?' + urlencode(given, doseq=True) if given else ''}"
