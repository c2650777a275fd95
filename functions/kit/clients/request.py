"""A request of httpx that is made for what is sent, and not of a client's defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import httpx


def request(
    method: str,
    url: str,
    headers: Mapping[str, str] | Sequence[tuple[bytes, bytes]],
    content: str | bytes | None,
    timeout: httpx.Timeout,
) -> httpx.Request:
    """A request for a client's `send`.

    The client's own `build_request` merges parameters, headers and cookies that no call of ours
    has, and takes four times as long: a third of a whole call.
    """
    extensions = {"timeout": timeout.as_dict()}
    return httpx.Request(method, url, headers=headers, content=content, extensions=extensions)
