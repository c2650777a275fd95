"""What is written on GitHub: comments, reactions, labels and pull requests, and who may do it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from tests.support.github_answers import API, Found, Routes, page, repository_of
from tests.support.github_git import GithubGit
from tests.support.github_rights import GithubRights
from tests.support.github_world import GithubWorld, Issue, Pull, Sent, written

_REPOSITORY = "/repos/{owner}/{repo}"
_ISSUE = f"{_REPOSITORY}/issues/{{number:int}}"
_COMMENT = f"{_REPOSITORY}/issues/comments/{{id:int}}"
# A pull request is an issue too: whoever may write one of both may comment.
_EITHER = "issues|pull_requests"
_ROLES = ("read", "triage", "write", "maintain", "admin")


@dataclass
class Comment:
    """A comment on an issue or a pull request. `edits` are its texts so far."""

    id: int
    repository: str
    number: int
    author: str
    edits: list[str]
    at: datetime | None = None

    @property
    def body(self) -> str:
        return self.edits[-1]


class GithubConversation:
    """`roles`: login -> admin, write, triage, read; anybody else has none. `teams`: org/slug -> the
    state of each member, `active` or `pending`."""

    def __init__(self, world: GithubWorld, rights: GithubRights, git: GithubGit) -> None:
        self._world, self._rights, self._git = world, rights, git
        self.comments: dict[int, Comment] = {}
        self.reactions: list[tuple[str, str]] = []
        self.roles: dict[str, str] = {"octocat": "write"}
        self.teams: dict[str, dict[str, str]] = {}
        self.bot, self.app_id = "dsm-agents[bot]", 1
        # Whose the token is that may do everything.
        self.user = "dsm-user"

    def on(self, repository: str, number: int) -> list[Comment]:
        """The comments of an issue or pull request, oldest first."""
        return [
            one
            for one in self.comments.values()
            if (one.repository, one.number) == (repository, number)
        ]

    async def writes(
        self, repository: str, number: int, text: str, by: str = "octocat"
    ) -> tuple[Comment, Sent]:
        """A user comments, of which every hook is notified."""
        world = self._world
        comment = Comment(world.new_id(), repository, number, by, [text], world.time)
        self.comments[comment.id] = comment
        about = world.pulls.get(repository, {}).get(number) or world.issues[repository][number]
        payload = {
            "action": "created",
            "issue": world.issue(repository, about),
            "comment": self._shown(comment),
            "repository": world.repository(repository),
            "sender": world.user(by),
        }
        return comment, await world.delivers("issue_comment", payload)

    def delete(self, comment: Comment) -> None:
        """A user deletes a comment."""
        del self.comments[comment.id]

    def routes(self) -> Routes:
        yield "GET", f"{_REPOSITORY}/collaborators/{{login}}/permission", self._permission
        yield "GET", "/orgs/{org}/teams/{team}/memberships/{login}", self._membership
        yield "GET", "/user", self._token_user
        yield "GET", f"{_ISSUE}/comments", self._comments
        yield "POST", f"{_ISSUE}/comments", self._comment
        yield "GET", _COMMENT, self._one_comment
        yield "PATCH", _COMMENT, self._edit
        yield "POST", f"{_ISSUE}/reactions", self._react
        yield "POST", f"{_COMMENT}/reactions", self._react
        yield "GET", f"{_ISSUE}/labels", self._labels
        yield "POST", f"{_ISSUE}/labels", self._label
        yield "GET", f"{_REPOSITORY}/pulls", self._pulls
        yield "POST", f"{_REPOSITORY}/pulls", self._open
        yield "GET", f"{_REPOSITORY}/pulls/{{number:int}}", self._one_pull
        yield "PATCH", f"{_REPOSITORY}/pulls/{{number:int}}", self._change

    async def _permission(self, request: Request) -> Found:
        self._check(request, "metadata")
        login = request.path_params["login"]
        role = self.roles.get(login, "none")
        # The permission of old knows no triage.
        permission = {"triage": "read", "maintain": "write"}.get(role, role)
        held = _ROLES[: _ROLES.index(role) + 1] if role in _ROLES else ()
        rights = {"read": "pull", "write": "push"}
        permissions = {rights.get(one, one): one in held for one in _ROLES}
        user = {**self._world.user(login), "permissions": permissions, "role_name": role}
        return {"permission": permission, "role_name": role, "user": user}, {}

    async def _membership(self, request: Request) -> Found:
        self._check(request, "members")
        org, team, login = (request.path_params[name] for name in ("org", "team", "login"))
        state = self.teams.get(f"{org}/{team}", {}).get(login)
        if state is None:
            raise HTTPException(404, "Not Found")
        url = f"{API}{request.url.path}"
        return {"url": url, "role": "member", "state": state}, {}

    async def _token_user(self, request: Request) -> Found:
        if not self._rights.is_user(request):
            raise HTTPException(403, "Resource not accessible by integration")
        return self._world.document.made("public-user", login=self.user, type="User"), {}

    async def _comments(self, request: Request) -> Found:
        self._check(request, _EITHER)
        found = self.on(repository_of(request), self._known(request).number)
        return page(request, [self._shown(one) for one in found])

    async def _comment(self, request: Request) -> Found:
        self._check(request, _EITHER)
        about = self._known(request)
        if isinstance(about, Issue) and about.locked:
            raise HTTPException(403, "Unable to create comment because issue is locked.")
        number = about.number
        body = (await request.json())["body"]
        author = self.user if self._rights.is_user(request) else self.bot
        repository = repository_of(request)
        comment = Comment(self._world.new_id(), repository, number, author, [_bounded(body)])
        self.comments[comment.id] = comment
        return self._shown(comment), {}

    async def _one_comment(self, request: Request) -> Found:
        self._check(request, _EITHER)
        return self._shown(self._known_comment(request)), {}

    async def _edit(self, request: Request) -> Found:
        self._check(request, _EITHER)
        comment = self._known_comment(request)
        if comment.author not in (self.bot, self.user):
            raise HTTPException(403, "Resource not accessible by integration")
        comment.edits.append(_bounded((await request.json())["body"]))
        return self._shown(comment), {}

    async def _react(self, request: Request) -> Found:
        self._check(request, _EITHER)
        content = (await request.json())["content"]
        if (emitted := (request.url.path, content)) not in self.reactions:
            self.reactions.append(emitted)
        document = self._world.document
        return document.made("reaction", content=content, user=self._world.user(self.bot)), {}

    async def _labels(self, request: Request) -> Found:
        self._check(request, _EITHER)
        return page(request, [self._world.label(name) for name in self._issue(request).labels])

    async def _label(self, request: Request) -> Found:
        self._check(request, _EITHER)
        issue, wanted = self._issue(request), (await request.json())["labels"]
        issue.labels += [name for name in wanted if name not in issue.labels]
        return [self._world.label(name) for name in issue.labels], {}

    async def _pulls(self, request: Request) -> Found:
        self._check(request, "pull_requests")
        repository, query = repository_of(request), request.query_params
        owner = repository.partition("/")[0]
        found = [
            self.shown_pull(repository, pull)
            for pull in self._world.pulls.get(repository, {}).values()
            if query.get("state", "open") in ("all", pull.state)
            and query.get("head", f"{owner}:{pull.head}") == f"{owner}:{pull.head}"
        ]
        return page(request, found)

    async def _open(self, request: Request) -> Found:
        self._check(request, "pull_requests")
        repository, wanted = repository_of(request), await request.json()
        pulls = self._world.pulls.setdefault(repository, {})
        head, base = wanted["head"], wanted["base"]
        heads = [self._git.head(repository, one) for one in (head, base)]
        if None in heads:
            raise HTTPException(422, "Validation Failed")
        if any((p.head, p.base, p.state) == (head, base, "open") for p in pulls.values()):
            raise HTTPException(422, "A pull request already exists for this branch")
        if heads[0] == heads[1]:
            raise HTTPException(422, f"No commits between {base} and {head}")
        number = self._world.next_number(repository)
        pulls[number] = Pull(
            number,
            wanted["title"],
            wanted.get("body") or "",
            head,
            base,
            wanted.get("draft", False),
            self.bot,
            self._world.time,
            repository=repository,
        )
        return self.shown_pull(repository, pulls[number]), {}

    async def _one_pull(self, request: Request) -> Found:
        self._check(request, "pull_requests")
        return self.shown_pull(repository_of(request), self._pull(request)), {}

    async def _change(self, request: Request) -> Found:
        self._check(request, "pull_requests")
        pull = self._pull(request)
        for name, value in (await request.json()).items():
            setattr(pull, name, value)
        return self.shown_pull(repository_of(request), pull), {}

    def _check(self, request: Request, right: str) -> None:
        self._rights.check(request, self._world.time, right)

    def _issue(self, request: Request) -> Issue:
        repository, number = repository_of(request), request.path_params["number"]
        found = self._world.issues.get(repository, {}).get(number)
        if found is None:
            raise HTTPException(404, "Not Found")
        return found

    def _pull(self, request: Request) -> Pull:
        repository, number = repository_of(request), request.path_params["number"]
        found = self._world.pulls.get(repository, {}).get(number)
        if found is None:
            raise HTTPException(404, "Not Found")
        return found

    def _known(self, request: Request) -> Issue | Pull:
        pulls = self._world.pulls.get(repository_of(request), {})
        return pulls.get(request.path_params["number"]) or self._issue(request)

    def _known_comment(self, request: Request) -> Comment:
        found = self.comments.get(request.path_params["id"])
        if found is None or found.repository != repository_of(request):
            raise HTTPException(404, "Not Found")
        return found

    def _shown(self, comment: Comment) -> dict[str, Any]:
        at = written(comment.at or self._world.time)
        url = f"{API}/repos/{comment.repository}/issues"
        page = f"https://github.com/{comment.repository}/issues/{comment.number}"
        made = self._world.document.made
        app = made("integration", id=self.app_id) if comment.author == self.bot else None
        return made(
            "issue-comment",
            id=comment.id,
            body=comment.body,
            created_at=at,
            updated_at=at,
            user=self._world.user(comment.author),
            performed_via_github_app=app,
            url=f"{url}/comments/{comment.id}",
            issue_url=f"{url}/{comment.number}",
            html_url=f"{page}#issuecomment-{comment.id}",
        )

    def shown_pull(self, repository: str, pull: Pull) -> dict[str, Any]:
        """As one of a list, which has everything that anybody reads here."""
        url = f"{API}/repos/{repository}/pulls/{pull.number}"
        made = self._world.document.made
        return made(
            "pull-request",
            number=pull.number,
            title=pull.title,
            body=pull.body,
            state=pull.state,
            draft=pull.draft,
            user=self._world.user(pull.author),
            author_association="MEMBER",
            labels=[self._world.label(name) for name in pull.labels],
            head=self._side(pull.repository or repository, pull.head),
            base=self._side(repository, pull.base),
            created_at=written(pull.updated_at),
            updated_at=written(pull.updated_at),
            url=url,
            html_url=f"https://github.com/{repository}/pull/{pull.number}",
        )

    def _side(self, repository: str, branch: str) -> dict[str, Any]:
        owner = repository.partition("/")[0]
        return {
            "label": f"{owner}:{branch}",
            "ref": branch,
            "sha": self._git.head(repository, branch) or "0" * 40,
            "repo": self._world.document.made("repository", full_name=repository),
            "user": self._world.user(owner),
        }


def _bounded(body: str) -> str:
    if len(body) > 65_536:
        raise HTTPException(422, "body is too long (maximum is 65536 characters)")
    return body
