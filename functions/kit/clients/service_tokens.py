"""The bearer tokens with which this process calls Services that ask who calls.

A projected volume holds one for each Service, in a file NAME.NAMESPACE, under the audience of that
Service: what one of them was shown opens no other. Kubernetes replaces them before they expire.
"""

from __future__ import annotations

import re
from pathlib import Path

import httpx

_SERVICE = re.compile(r"(?P<name>[a-z0-9-]+\.[a-z0-9-]+)\.svc(?P<domain>\.[a-z0-9.-]+)?")


class ServiceTokens:
    """A hook of httpx's clients: it adds the token of the Service that a request goes to."""

    def __init__(self, folder: str, cluster_domain: str = "cluster.local") -> None:
        self._folder = Path(folder)
        self._domain = f".{cluster_domain.lower()}"

    async def __call__(self, request: httpx.Request) -> None:
        if "authorization" not in request.headers and (token := self.of(request.url.host)):
            request.headers["authorization"] = f"Bearer {token}"

    def of(self, host: str) -> str | None:
        """The token for a host; None where it is no Service of the cluster, or asks for none."""
        found = _SERVICE.fullmatch(host.lower())
        if found is None or found["domain"] not in (None, self._domain):
            return None
        try:
            return (self._folder / found["name"]).read_text().strip() or None
        except OSError:
            return None
