"""The stand-in of GitHub: git over HTTP with tokens that limit, pull requests and comments."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.support.github_standin import GithubStandIn
from tests.support.listening import listening

FILES = {"README.md": "# Shop\n", "src/basket.py": "items = []\n"}


class Served:
    """A stand-in on a socket, and a client of its API."""

    def __init__(self, github: GithubStandIn, url: str, api: httpx.AsyncClient) -> None:
        self.github, self.url, self.api = github, url, api

    async def token(self, permissions: dict[str, str], repository: str = "shop") -> str:
        """A token that the App asks for."""
        now = int(self.github.time.timestamp())
        claims = {"iss": "1", "iat": now - 60, "exp": now + 300}
        signed = jwt.encode(claims, self.github.private_key, "RS256")
        answer = await self.api.post(
            "/app/installations/11/access_tokens",
            json={"repositories": [repository], "permissions": permissions},
            headers={"Authorization": f"Bearer {signed}"},
        )
        return str(answer.json()["token"])

    async def git(
        self, *message: str, at: Path, token: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run git as a user with a token, or without."""
        url = self.url.replace("://", f"://x-access-token:{token}@") if token else self.url
        command = ["git", *(word.replace("GITHUB", url) for word in message)]
        alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
        who = {f"GIT_{w}_{n}": "agent" for w in ("AUTHOR", "COMMITTER") for n in ("NAME", "EMAIL")}
        environ = {"PATH": os.environ["PATH"], "HOME": str(at), **alone, **who}
        return await asyncio.to_thread(
            lambda: subprocess.run(command, cwd=at, env=environ, capture_output=True, text=True)
        )


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with httpx.AsyncClient() as anonymous:
        github = GithubStandIn(
            lambda: datetime.now(UTC), anonymous, "secret", folder=tmp_path / "git"
        )
        github.git.create("acme/shop", FILES)
        github.git.create("acme/other", FILES)
        async with listening(github) as url, httpx.AsyncClient(base_url=url, timeout=60) as api:
            yield Served(github, url, api)
    assert github.document.violations == []


async def change(served: Served, at: Path, branch: str) -> None:
    """A clone with one commit more, on a branch."""
    assert (await served.git("clone", "GITHUB/acme/shop.git", ".", at=at)).returncode == 0
    await served.git("switch", "-c", branch, at=at)
    (at / "README.md").write_text("# The shop\n")
    await served.git("commit", "-am", "Say which shop", at=at)


@pytest.mark.parametrize(
    ("permissions", "repository", "refusal"),
    [
        pytest.param({"contents": "write"}, "shop", "", id="may"),
        pytest.param({"contents": "read"}, "shop", "403", id="may only read"),
        pytest.param({"issues": "write"}, "shop", "403", id="may do something else"),
        pytest.param({"contents": "write"}, "other", "not found", id="of another repository"),
    ],
)
async def test_a_token_pushes_what_it_may(
    served: Served, tmp_path: Path, permissions: dict[str, str], repository: str, refusal: str
) -> None:
    (at := tmp_path / "clone").mkdir()
    await change(served, at, "agent/1")
    token = await served.token(permissions, repository)
    pushed = await served.git("push", "GITHUB/acme/shop.git", "agent/1", at=at, token=token)

    assert (pushed.returncode == 0) is not bool(refusal), pushed.stderr
    assert refusal in pushed.stderr
    assert ("agent/1" in served.github.git.branches("acme/shop")) is not bool(refusal)


async def test_a_private_repository_needs_a_token(served: Served, tmp_path: Path) -> None:
    served.github.git.private.add("acme/shop")
    (at := tmp_path / "clone").mkdir()
    message = ("clone", "--depth=1", "GITHUB/acme/shop.git", ".")
    assert (await served.git(*message, at=at)).returncode != 0
    token = await served.token({"contents": "read"})
    assert (await served.git(*message, at=at, token=token)).returncode == 0


async def test_a_pull_request_is_opened_once(served: Served) -> None:
    served.github.git.commit("acme/shop", "agent/1", {"README.md": "# New\n"}, "Change it")
    token = await served.token({"contents": "write", "pull_requests": "write"})
    headers = {"Authorization": f"Bearer {token}"}
    wanted: dict[str, Any] = {"title": "New", "head": "agent/1", "base": "main", "draft": True}

    first = await served.api.post("/repos/acme/shop/pulls", json=wanted, headers=headers)
    again = await served.api.post("/repos/acme/shop/pulls", json=wanted, headers=headers)
    found = await served.api.get("/repos/acme/shop/pulls?head=acme:agent/1", headers=headers)

    assert (first.status_code, again.status_code) == (201, 422)
    assert [one["number"] for one in found.json()] == [first.json()["number"]]
    assert found.json()[0]["head"]["sha"] == served.github.git.head("acme/shop", "agent/1")


async def test_comments_are_edited_and_deleted_ones_are_gone(served: Served) -> None:
    number = await served.github.opened("acme/shop")
    headers = {"Authorization": f"Bearer {await served.token({'issues': 'write'})}"}
    at = f"/repos/acme/shop/issues/{number}/comments"
    made = (await served.api.post(at, json={"body": "first"}, headers=headers)).json()
    one = f"/repos/acme/shop/issues/comments/{made['id']}"
    await served.api.patch(one, json={"body": "second"}, headers=headers)
    [comment] = served.github.conversation.on("acme/shop", number)
    assert comment.edits == ["first", "second"]

    served.github.conversation.delete(comment)
    gone = await served.api.patch(one, json={"body": "third"}, headers=headers)
    assert gone.status_code == 404
