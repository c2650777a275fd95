"""For command lines that ask an API: the request, its refusal in words, rows as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from functions.kit.clients.localhost import LocalhostTransport


class Refused(Exception):
    """The API refused, or was not reached; the text says why."""


def ask(
    url: str,
    method: str,
    path: str,
    *,
    token: str = "",
    transport: httpx.BaseTransport | None = None,
    timeout_s: float = 30,
    **options: Any,
) -> Any:
    """The JSON of an answer; `options` are httpx's, `token` is a bearer's, where one is needed."""
    auth = {"authorization": f"Bearer {token}"} if token else {}
    network = transport or LocalhostTransport()
    try:
        with httpx.Client(transport=network, base_url=url, headers=auth, timeout=timeout_s) as http:
            answer = http.request(method, path, **options)
    except httpx.TransportError as error:
        raise Refused(f"{url} cannot be reached: {error}") from error
    if answer.is_error:
        raise Refused(_problem(answer))
    return answer.json()


def _problem(answer: httpx.Response) -> str:
    """Why it was refused; a gateway may answer in plain text."""
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code}: {answer.text.strip()[:300] or answer.reason_phrase}"


def table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Rows under headings, each column as wide as it needs.

    >>> rows = [{"name": "a", "count": 1}, {"name": "long", "count": None}]
    >>> print(table(rows, ["name", "count"]))
    NAME  COUNT
    a     1
    long  -
    """
    lines = [[name.upper() for name in names]]
    lines += [["-" if row.get(n) is None else str(row[n]) for n in names] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
