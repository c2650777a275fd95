"""Talks to the running runtime; it is found through runtime.json in the data directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from knative.local.cli.typed import typed
from knative.local.errors import StartError

TIMEOUT_S = 900.0  # an ingress answers after all deliveries, retries included


class Client:
    """Use as a context manager. Raises StartError when no runtime answers."""

    def __init__(self, data: Path) -> None:
        file = data / "runtime.json"
        try:
            found = json.loads(file.read_text())
            self.url, token = str(found["url"]), str(found["token"])
        except PermissionError:
            raise StartError(f"{file} may be read by its owner only") from None
        except (OSError, ValueError, KeyError):
            words = f"no local Knative runs on {data}; start one with `{typed('up')}`"
            raise StartError(words) from None
        self.http = httpx.Client(
            base_url=self.url,
            timeout=TIMEOUT_S,
            trust_env=False,
            headers={"Authorization": f"Bearer {token}"},
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def ask(self, path: str, **query: Any) -> Any:
        """The JSON that the runtime answers to GET /_knative/`path`."""
        answer = self.request("GET", path, **query)
        if not answer.is_success:
            raise StartError(f"{self.url} answers {answer.status_code}: {answer.text[:200]}")
        return answer.json()

    def request(self, method: str, path: str, **query: Any) -> httpx.Response:
        """The runtime's answer, whatever its status."""
        given = {key: value for key, value in query.items() if value is not None}
        try:
            answer = self.http.request(method, f"/_knative/{path}", params=given)
        except httpx.TransportError as error:
            raise StartError(f"the local Knative at {self.url} does not answer: {error}") from None
        if answer.status_code >= 500 and "application/json" not in answer.headers.get(
            "content-type", ""
        ):
            words = f"the local Knative at {self.url} failed on {path}: {answer.status_code}"
            raise StartError(f"{words}; what `up` prints says why")
        try:
            answer.json()
        except (ValueError, RecursionError):
            words = f"what answers at {self.url} is no local Knative; start one with "
            raise StartError(f"{words}`{typed('up')}`") from None
        return answer
