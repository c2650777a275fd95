"""GitHub, as far as hooks, issues, pull requests and git go: a stand-in as a real ASGI application.

Every request and answer is judged by GitHub's published OpenAPI document; `document.violations` has
what did not fit. It can lose deliveries, never try them, deliver late and twice, say 429, send its
cursors in a circle, and have its clock go wrong.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, timedelta
from email.utils import format_datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.support.github_answers import API, Found, Handler, page, repository_of
from tests.support.github_checks import GithubChecks
from tests.support.github_conversation import GithubConversation
from tests.support.github_git import GithubGit
from tests.support.github_rights import GithubRights
from tests.support.github_world import Attempt, GithubWorld, Issue, Pull, Sent, written

KEEPS = timedelta(days=3)
_GIT = re.compile(r"/([\w.-]+/[\w.-]+?)\.git/(.+)")


class GithubStandIn(GithubWorld):
    """`remaining` requests of the hour are left; `busy` are refusals of the next, None for none.

    Each time that a repository is asked for, one of `late_now` arrives at the same moment.
    """

    def __init__(
        self, *given: Any, token: str = "ghp_token", folder: Path | None = None, **named: Any
    ) -> None:
        super().__init__(*given, **named)
        self._rights = GithubRights(token)
        # Of repositories; without one there is no git.
        self.git = GithubGit(folder or Path("/nowhere"), self._rights)
        self.conversation = GithubConversation(self, self._rights, self.git)
        self.checks = GithubChecks(self, self._rights)
        self.limit = self.remaining = 5000
        self.busy: list[tuple[int, dict[str, str]] | None] = []
        self.loops = False
        self.late_now: list[Sent] = []
        # Of the next POST whose path ends so, GitHub does what is asked and the answer is lost.
        self.lose_answer_of = ""
        self._arriving: list[asyncio.Task[httpx.Response]] = []
        self.requests: list[str] = []

    @property
    def token(self) -> str:
        """Of a user who may do everything."""
        return self._rights.token

    def knows(self, token: str) -> None:
        """Let another token do everything."""
        self._rights.token = token

    @property
    def private_key(self) -> str:
        """The App's."""
        return self._rights.private_key

    def refuses(self, after: int, status: int, headers: dict[str, str]) -> None:
        """Answer so many requests, and refuse the next."""
        self.busy = [None] * after + [(status, headers)]

    async def arrived(self) -> None:
        """Return once what came in the middle of it (`late_now`) was answered."""
        await asyncio.gather(*self._arriving)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        if match := _GIT.fullmatch(request.url.path):
            await (await self.git.answered(request, *match.groups()))(scope, receive, send)
            return
        self.requests.append(f"{request.method} {request.url.path}")
        body = json.loads(await request.body() or b"null")
        self.document.request(request.method, request.url.path, request.query_params, body)
        response = await self._answered(request)
        lost = request.method == "POST" and self.lose_answer_of
        if lost and request.url.path.endswith(lost):
            self.lose_answer_of = ""
            response = _json({"message": "Bad gateway"}, 502)
        response.headers["Date"] = format_datetime(self.time.astimezone(UTC), usegmt=True)
        hour = self.time.replace(minute=0, second=0) + timedelta(hours=1)
        response.headers["x-ratelimit-limit"] = str(self.limit)
        response.headers["x-ratelimit-remaining"] = str(self.remaining)
        response.headers["x-ratelimit-reset"] = str(int(hour.timestamp()))
        await response(scope, receive, send)

    async def _answered(self, request: Request) -> Response:
        if self.busy and (refusal := self.busy.pop(0)):
            status, headers = refusal
            return _json({"message": "You have exceeded a secondary rate limit."}, status, headers)
        if self.remaining <= 0:
            return _json({"message": "API rate limit exceeded"}, 403)
        try:
            found, headers = await self._found(request)
            status = {"POST": 201}.get(request.method, 200)
            if request.url.path.endswith("/attempts"):
                status = 202
            elif request.url.path.endswith("/labels"):
                status = 200
        except HTTPException as error:
            url = "https://docs.github.com/rest"
            found, headers = {"message": error.detail, "documentation_url": url}, {}
            status = error.status_code
        self.document.answer(request.method, request.url.path, status, found)
        tag = f'W/"{hashlib.sha256(json.dumps([found, headers]).encode()).hexdigest()}"'
        if status == 200 and request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        self.remaining -= 1
        return _json(found, status, {**headers, "ETag": tag})

    async def _found(self, request: Request) -> Found:
        for route in self._routes:
            match, child = route.matches(request.scope)
            if match.value == 2:
                request.scope["path_params"] = child["path_params"]
                found: Found = await route.endpoint(request)
                return found
        raise HTTPException(404, "Not Found")

    @cached_property
    def _routes(self) -> list[Route]:
        routes = []

        def add(at: str, answer: Handler, method: str = "GET") -> None:
            async def endpoint(request: Request) -> Any:
                return await answer(request)

            routes.append(Route(at, endpoint, methods=[method]))

        for hook in ("app/hook", "orgs/{org}/hooks/{hook}", "repos/{owner}/{repo}/hooks/{hook}"):
            add(f"/{hook}/deliveries", self._list)
            add(f"/{hook}/deliveries/{{id:int}}", self._one)
            add(f"/{hook}/deliveries/{{id:int}}/attempts", self._again, "POST")
        repository = "/repos/{owner}/{repo}"
        add(f"{repository}/installation", self._installed)
        add("/app/installations/{id:int}/access_tokens", self._token, "POST")
        add(f"{repository}/issues", self._issues)
        add(f"{repository}/issues/{{number:int}}", self._one_issue)
        add(f"{repository}/issues/{{number:int}}/timeline", self._timeline)
        add(repository, self._one_repository)
        for method, at, answer in (*self.conversation.routes(), *self.checks.routes()):
            add(at, answer, method)
        return routes

    async def _list(self, request: Request) -> Found:
        rows = self._of_hook(request)
        query = request.query_params
        if query.get("status"):
            good = query["status"] == "success"
            rows = [one for one in rows if (one.status_code < 400) is good]
        start = int(query.get("cursor", "v1_0").removeprefix("v1_"))
        size = int(query.get("per_page", 30))
        following = 0 if self.loops else start + size
        headers = {}
        if start + size < len(rows) or self.loops:
            url = f"{API}{request.url.path}?per_page={size}&cursor=v1_{following}"
            headers["Link"] = f'<{url}>; rel="next"'
        return [self.item(one) for one in rows[start : start + size]], headers

    async def _one(self, request: Request) -> Found:
        found = self._attempt(request)
        emitted = {"headers": found.sent.headers, "payload": found.sent.payload}
        response = {"headers": {}, "payload": ""}
        return {**self.item(found), "url": "", "request": emitted, "response": response}, {}

    async def _again(self, request: Request) -> Found:
        await self.tries(self._attempt(request).sent, again=True)
        return {}, {}

    def _of_hook(self, request: Request) -> list[Attempt]:
        hook = request.url.path.partition("/deliveries")[0].removeprefix("/")
        hook = "app" if hook == "app/hook" else hook
        self._rights.check(request, self.time, "app" if hook == "app" else "repository_hooks")
        kept = [one for one in self.attempts if one.at > self.time - KEEPS]
        rows = [one for one in kept if one.sent.hook == hook]
        return sorted(rows, key=lambda one: one.id, reverse=True)

    def _attempt(self, request: Request) -> Attempt:
        for one in self._of_hook(request):
            if one.id == request.path_params["id"]:
                return one
        raise HTTPException(404, "Not Found")

    async def _installed(self, request: Request) -> Found:
        self._rights.check(request, self.time, "app")
        return self.document.made("installation", id=11), {}

    async def _token(self, request: Request) -> Found:
        self._rights.check(request, self.time, "app")
        token, ends = self._rights.given(await request.json(), self.time)
        return self.document.made("installation-token", token=token, expires_at=written(ends)), {}

    def about(self, repository: str, issue: Issue | Pull) -> dict[str, Any]:
        if isinstance(issue, Issue):
            return super().about(repository, issue)
        shown = self.conversation.shown_pull(repository, issue)
        return {"number": issue.number, "pull_request": shown}

    async def _issues(self, request: Request) -> Found:
        self._rights.check(request, self.time, "issues")
        repository, query = repository_of(request), request.query_params
        wanted = {one.lower() for one in query.get("labels", "").split(",") if one}
        found = [
            self.issue(repository, issue)
            for kind in (self.issues, self.pulls)
            for issue in kind.get(repository, {}).values()
            if query.get("state", "open") in ("all", issue.state)
            and wanted <= {one.lower() for one in issue.labels}
        ]
        return page(request, found)

    async def _one_issue(self, request: Request) -> Found:
        self._rights.check(request, self.time, "issues")
        return self.issue(repository_of(request), self._known(request)), {}

    async def _timeline(self, request: Request) -> Found:
        self._rights.check(request, self.time, "issues")
        return page(request, self._known(request).timeline)

    async def _one_repository(self, request: Request) -> Found:
        self._rights.check(request, self.time, "metadata")
        if self.late_now:
            self._arriving.append(asyncio.create_task(self.answered(self.late_now.pop(0))))
        return self.repository(repository_of(request)), {}

    def _known(self, request: Request) -> Issue | Pull:
        repository, number = repository_of(request), request.path_params["number"]
        pull = self.pulls.get(repository, {}).get(number)
        found = pull or self.issues.get(repository, {}).get(number)
        if found is None:
            raise HTTPException(404, "Not Found")
        return found


def _json(found: Any, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(found), status, dict(headers or {}), "application/json")
