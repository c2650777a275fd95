"""`python -m tests.support.github_process HOOK`: GitHub's stand-in as a process, for `make run`.

GITHUB_TOKEN is what our requests show. The first line that it prints is its URL. It ends with its
standard input. `POST /_world/issue` opens an issue and labels it, which delivers a signed webhook,
or loses it; `GET /_world/outcome` says what has come of it. Requests are not judged by GitHub's
document, which the tests do.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse

from tests.support.github_standin import GithubStandIn
from tests.support.listening import listening


class World:
    """The stand-in, and what `make run` does with it."""

    def __init__(self, folder: Path, hook: str) -> None:
        no_receiver, token = httpx.AsyncClient(), os.environ["GITHUB_TOKEN"]
        self._github = GithubStandIn(
            lambda: datetime.now(UTC), no_receiver, "", (hook,), token=token, folder=folder
        )
        self._github.document.judges = False
        # A receiver knows the ids of earlier runs.
        self._github.newest_id = time.time_ns() // 1_000_000

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        if request.url.path == "/_world/issue":
            await (await self._issue(await request.json()))(scope, receive, send)
        elif request.url.path.startswith("/_world/outcome"):
            await self._outcome(request.query_params)(scope, receive, send)
        else:
            await self._github(scope, receive, send)

    async def _issue(self, asked: dict[str, Any]) -> JSONResponse:
        """`proxy`, `url`, `secret` lead to the receiver; `fate` is what becomes of the webhook."""
        receiver = httpx.AsyncClient(proxy=asked["proxy"], base_url=asked["url"], trust_env=False)
        self._github.reaches(receiver, asked["secret"])
        repository = asked["repository"]
        if not self._github.git.path(repository).is_dir():
            self._github.git.create(repository, asked["files"])
        while self._github.next_number(repository) < asked["number"]:
            number = self._github.next_number(repository)
            await self._github.opened(repository, f"Earlier issue {number}")
        number = await self._github.opened(repository, asked["title"], asked["body"])
        await self._github.labelled(repository, number, asked["label"], asked["fate"])
        return JSONResponse({"number": number, "answered": self._github.attempts[-1].status_code})

    def _outcome(self, query: Any) -> JSONResponse:
        repository, number = query["repository"], int(query["number"])
        pulls = [
            {
                "number": pull.number,
                "title": pull.title,
                "draft": pull.draft,
                "branch": pull.head,
                "diff": self._github.git.diff(repository, pull.base, pull.head),
            }
            for pull in self._github.pulls.get(repository, {}).values()
        ]
        comments = [one.body for one in self._github.conversation.on(repository, number)]
        return JSONResponse({"pulls": pulls, "comments": comments})


async def main() -> None:
    """Serve until standard input ends."""
    with tempfile.TemporaryDirectory(prefix="github-") as folder:
        async with listening(World(Path(folder), sys.argv[1])) as url:
            print(json.dumps({"url": url}), flush=True)
            await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
