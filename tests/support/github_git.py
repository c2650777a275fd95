"""The repositories of GitHub's stand-in: bare ones in a folder, over HTTP by git's own server."""

from __future__ import annotations

import asyncio
import os
import subprocess
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tests.support.github_lfs import LfsObjects
from tests.support.github_rights import GithubRights

_ALONE = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "octocat",
    "GIT_AUTHOR_EMAIL": "octocat@example.com",
    "GIT_COMMITTER_NAME": "octocat",
    "GIT_COMMITTER_EMAIL": "octocat@example.com",
    "PATH": os.environ["PATH"],
}


class GithubGit:
    """Bare repositories below `folder`; a `private` one is read only with a token that may."""

    def __init__(self, folder: Path, rights: GithubRights) -> None:
        self.folder = folder
        self.private: set[str] = set()
        self.away = False
        self.lfs = LfsObjects()
        self._rights = rights

    def create(self, repository: str, files: Mapping[str, str]) -> str:
        """A repository whose branch `main` has one commit; returns its id."""
        bare = self.path(repository)
        git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
        git("config", "http.receivepack", "true", at=bare)
        git("config", "uploadpack.allowAnySHA1InWant", "true", at=bare)
        return self.commit(repository, "main", files, "Begin")

    def commit(self, repository: str, branch: str, files: Mapping[str, str], message: str) -> str:
        """A user pushes a commit with these files to a branch, which may be new."""
        bare = self.path(repository)
        tree = self.folder / "work" / repository
        tree.mkdir(parents=True, exist_ok=True)
        places = [f"--git-dir={bare}", f"--work-tree={tree}"]
        parent = self.head(repository, branch) or self.head(repository, "main")
        index = {"GIT_INDEX_FILE": str(tree.with_name(f"{tree.name}.index"))}
        if parent:
            git(*places, "read-tree", parent, env=index)
        for name, text in files.items():
            file = tree / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            git(*places, "add", "--force", name, env=index)
        written = git(*places, "write-tree", env=index)
        parents = ["-p", parent] if parent else []
        commit = git(*places, "commit-tree", written, *parents, "-m", message)
        git("update-ref", f"refs/heads/{branch}", commit, at=bare)
        return commit

    def path(self, repository: str) -> Path:
        return self.folder / f"{repository}.git"

    def head(self, repository: str, branch: str) -> str | None:
        """The commit of a branch; None where there is no such branch."""
        return self.known(repository, f"refs/heads/{branch}")

    def known(self, repository: str, name: str) -> str | None:
        with suppress(subprocess.CalledProcessError):
            return git("rev-parse", "--verify", "--quiet", name, at=self.path(repository))
        return None

    def branches(self, repository: str) -> list[str]:
        found = git("for-each-ref", "--format=%(refname:short)", at=self.path(repository))
        return found.split()

    def file(self, repository: str, branch: str, name: str) -> str:
        return git("show", f"refs/heads/{branch}:{name}", at=self.path(repository))

    def diff(self, repository: str, base: str, head: str) -> str:
        return git("diff", f"{base}...{head}", at=self.path(repository))

    async def answered(self, request: Request, repository: str, rest: str) -> Response:
        """A request of a git client."""
        writes = "receive-pack" in rest or "receive-pack" in request.query_params.get("service", "")
        if self.away:
            return Response("away", 503)
        if not self.path(repository).is_dir():
            return Response("Repository not found.", 404)
        if writes or repository in self.private:
            try:
                token = _password(request.headers.get("authorization", ""))
                self._rights.check_git(token, repository, writes=writes)
            except HTTPException as error:
                challenge = {"WWW-Authenticate": 'Basic realm="GitHub"'}
                return Response(error.detail, error.status_code, challenge)
        if rest == "info/lfs/objects/batch":
            return await self.lfs.batch(request)
        environ = {
            **_ALONE,
            "GIT_PROJECT_ROOT": str(self.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{repository}.git/{rest}",
            "QUERY_STRING": request.url.query,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
            "REMOTE_USER": "git",
            "REMOTE_ADDR": "127.0.0.1",
        }
        process = await asyncio.create_subprocess_exec(
            *("git", "http-backend"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environ,
        )
        output, _ = await process.communicate(await request.body())
        head, _, body = output.partition(b"\r\n\r\n")
        lines = (line.partition(": ") for line in head.decode().split("\r\n"))
        headers = {name: value for name, _, value in lines}
        status = int(headers.pop("Status", "200").split()[0])
        return Response(body, status, headers)


def git(*expected_text: str, at: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run git alone on its settings; returns what it prints."""
    place = [f"--git-dir={at}"] if at else []
    command = ["git", *place, *expected_text]
    environ = {**_ALONE, **(env or {})}
    ran = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
    return ran.stdout.strip()


def _password(header: str) -> str:
    """The token of `Authorization: Basic`, whose user may be any."""
    kind, _, value = header.partition(" ")
    if kind.lower() != "basic":
        raise HTTPException(401, "Authentication required")
    return b64decode(value).decode().partition(":")[2]
