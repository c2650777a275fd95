"""For command lines: names below `localhost`, wherever the system does not know them."""

from __future__ import annotations

import httpx


class LocalhostTransport(httpx.HTTPTransport):
    """The network, where `*.localhost` is this machine, as browsers and curl have it.

    Python asks the system, which often knows no more than `localhost` itself.
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host.endswith(".localhost"):
            # The header Host is made already, and stays.
            request.url = request.url.copy_with(host="127.0.0.1")
        return super().handle_request(request)
