"""Comments on GitHub that know their writer by a mark which no reader sees.

A stranger can write the mark, too, so only a comment of our own counts: of our App, or of the
token's user.
"""

from __future__ import annotations

from pydantic import BaseModel

from functions.kit.clients.github import Github
from functions.kit.clients.service import typed
from functions.kit.clients.url_path import path

READ_ISSUES = {"issues": "write"}  # as for writing, so that one token serves for both


class _User(BaseModel):
    login: str
    type: str = "User"


class _App(BaseModel):
    id: int
    client_id: str | None = None


class Comment(BaseModel):
    """A comment, as far as we read it."""

    id: int
    body: str | None = None
    user: _User | None = None
    performed_via_github_app: _App | None = None


async def comment_with(github: Github, repository: str, issue: int, marker: str) -> Comment | None:
    """The first comment of our own that has the mark; None without one."""
    owner, _, name = repository.partition("/")
    at = f"{path('repos', owner, name)}/issues/{issue}/comments"
    query: dict[str, str] | None = {"per_page": "100"}
    while query is not None:
        answer = await github.get(at, query, repository=repository, permissions=READ_ISSUES)
        for comment in typed("GitHub", list[Comment], answer.body):
            if marker in (comment.body or "") and await _is_ours(github, comment):
                return comment
        query = dict(answer.next) if answer.next else None
    return None


async def _is_ours(github: Github, comment: Comment) -> bool:
    user, app = comment.user, comment.performed_via_github_app
    if user is None:
        return False
    if github.app_id:
        # What a user does by way of an App has the App, too, but the user's own login.
        return (
            user.type == "Bot" and app is not None and github.app_id in (str(app.id), app.client_id)
        )
    login = await github.login()
    # A token without a user is an App's, which writes as a bot.
    return user.login == login if login else user.type == "Bot"
