"""Comments on GitHub that know their writer by a mark which no reader sees."""

from __future__ import annotations

from pydantic import BaseModel

from functions.kit.clients.github import Github
from functions.kit.clients.service import typed
from functions.kit.clients.url_path import path

READ_ISSUES = {"issues": "write"}  # as for writing, so that one token serves for both


class Comment(BaseModel):
    """A comment, as far as we read it."""

    id: int
    body: str | None = None


async def comment_with(github: Github, repository: str, issue: int, marker: str) -> Comment | None:
    """The first comment that has the mark; None without one."""
    owner, _, name = repository.partition("/")
    at = f"{path('repos', owner, name)}/issues/{issue}/comments"
    query: dict[str, str] | None = {"per_page": "100"}
    while query is not None:
        answer = await github.get(at, query, repository=repository, permissions=READ_ISSUES)
        for comment in typed("GitHub", list[Comment], answer.body):
            if marker in (comment.body or ""):
                return comment
        query = dict(answer.next) if answer.next else None
    return None
