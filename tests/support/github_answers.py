"""What the parts of GitHub's stand-in share: how a repository is named, and how lists are paged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpx
from starlette.requests import Request

API = "https://api.github.com"
# A body, and the headers of its answer.
Found = tuple[Any, dict[str, str]]
Handler = Callable[[Request], Awaitable[Found]]
Routes = Iterable[tuple[str, str, Handler]]


def repository_of(request: Request) -> str:
    return f"{request.path_params['owner']}/{request.path_params['repo']}"


def page(request: Request, found: list[dict[str, Any]]) -> Found:
    size = int(request.query_params.get("per_page", 30))
    number = int(request.query_params.get("page", 1))
    headers = {}
    if number * size < len(found):
        query = {**request.query_params, "page": number + 1}
        url = httpx.URL(f"{API}{request.url.path}", params=query)
        headers["Link"] = f'<{url}>; rel="next"'
    return found[(number - 1) * size : number * size], headers
