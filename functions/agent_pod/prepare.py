"""Make the workspace: the repository, shallow, on the task's own branch."""

from __future__ import annotations

from base64 import b64decode
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from functions.agent_pod.environment import Failure, Places, post
from functions.agent_pod.lfs import pull_lfs
from functions.agent_pod.state import restore_state
from functions.kit.clients.git import GitError, authorization, configured, git

ASK_S = 300.0
REPORT_S = 60.0
BASE = "refs/heads/base"
# What a server says of a commit that it has no more.
_GONE = "not our ref"
WORK, UNCOMMITTED, STATE = "refs/heads/work", "refs/heads/uncommitted", "refs/heads/state"


def prepare(places: Places) -> None:
    """Make the workspace; where that fails, have agent-outputs know why."""
    try:
        _prepare(places)
    except (Failure, GitError) as failure:
        with suppress(Failure):  # the first one counts
            problem = {"prepared": False, "problems": [str(failure)[:2000]]}
            post(places, "outputs", problem, REPORT_S)
        raise


@dataclass(frozen=True)
class Kept:
    """What an earlier Job of the task has left; `base` is the commit that its bundle stands on,
    empty without one."""

    job_id: str
    session: str
    file: Path
    base: str = ""
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Any, places: Places) -> Kept | None:
        """Write its bundle where git finds it; None where nothing is kept."""
        if not given:
            return None
        found = cls(str(given["job_id"]), str(given["session"]), places.collected / "kept.bundle")
        if not given.get("bundle"):
            return found
        content = b64decode(given["bundle"])
        found.file.write_bytes(content)
        lines = content.partition(b"\n\n")[0].decode(errors="replace").splitlines()
        bases = [line[1:41] for line in lines if line.startswith("-")]
        base = bases[0] if len(bases) == 1 else ""
        names = tuple(line[41:] for line in lines[1:] if not line.startswith("-"))
        return replace(found, base=base, names=names)

    def without_work(self, why: str) -> Kept:
        """It as far as there is no place for its commits."""
        print(f"what Job {self.job_id} has left is not restored: {why}")
        return replace(self, base="")


def _resume(kept: Kept, tree: str, own: Path, places: Places) -> None:
    """Put commits on the branch, changes and the agent's state into their folders, as they were."""
    places.session.write_text(kept.session)
    if not kept.base:
        return
    # Objects of an agent: names and modes that git itself would never write are refused.
    strict = ("-c", "fetch.fsckObjects=true", "fetch", "--quiet", str(kept.file))
    for name in (WORK, UNCOMMITTED):
        if name in kept.names:
            git(*strict, f"{name}:refs/kept/{name.rpartition('/')[2]}", at=own)
    if WORK in kept.names:
        git(tree, "reset", "--quiet", "--hard", "refs/kept/work", at=own)
    if UNCOMMITTED in kept.names:
        tip = git("rev-parse", "HEAD", at=own)
        git(tree, "reset", "--quiet", "--hard", "refs/kept/uncommitted", at=own)
        git(tree, "reset", "--quiet", tip, at=own)
    if STATE in kept.names:
        try:
            git(*strict, f"{STATE}:refs/kept/state", at=places.git)
            restore_state(places, "refs/kept/state")
        except GitError as error:
            print(f"the state that Job {kept.job_id} has left cannot be restored: {error}")
    print(f"it goes on from what Job {kept.job_id} has left")


def _prepare(places: Places) -> None:
    """Fetch the base once, with the token, into a repository of our own; the agent's is made of it.

    The agent's has neither the token nor a remote that needs one for reading what is public.
    """
    given = post(places, "workspace", {}, ASK_S)
    url, branch = str(given["clone_url"]), str(given["branch"])
    secret = str(given.get("token") or "")
    token = configured(authorization(secret))
    git("init", "--quiet", "--bare", str(places.git))
    # A task that was worked on before goes on from its branch.
    begun = git("ls-remote", url, f"refs/heads/{branch}", env=token)[:40]
    kept = Kept.of(given.get("kept"), places)
    source = f"refs/heads/{branch}" if begun else str(given.get("ref") or "HEAD")
    if kept is not None and kept.base and begun not in ("", kept.base):
        kept = kept.without_work(f"{branch} has other commits")
    shallow = ("fetch", "--quiet", "--depth=1", "--no-tags", url)
    try:
        at = kept.base if kept is not None and kept.base else source
        git(*shallow, f"{at}:{BASE}", env=token, at=places.git)
    except GitError as error:
        if kept is None or not kept.base or _GONE not in error.detail:
            raise
        kept = kept.without_work("the commit that it stands on is gone")
        git(*shallow, f"{source}:{BASE}", env=token, at=places.git)
    git("init", "--quiet", f"--initial-branch={branch}", str(places.repository))
    own = places.repository / ".git"
    git("fetch", "--quiet", "--depth=1", places.git.absolute().as_uri(), BASE, at=own)
    for name, value in (
        ("user.name", str(given["author_name"])),
        ("user.email", str(given["author_email"])),
        ("remote.origin.url", url),
    ):
        git("config", name, value, at=own)
    tree = f"--work-tree={places.repository}"
    git(tree, "reset", "--quiet", "--hard", "FETCH_HEAD", at=own)
    places.state.mkdir(exist_ok=True)
    if places.submodules:
        # Their places are the repository's word: no token goes there, and no file of the pod.
        more = ("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
        git(*more, within=places.repository, env={"GIT_ALLOW_PROTOCOL": "http:https"})
    if kept is not None:
        try:
            _resume(kept, tree, own, places)
        except GitError as error:
            print(f"what Job {kept.job_id} has left cannot be restored: {error}")
            git(tree, "reset", "--quiet", "--hard", git("rev-parse", BASE, at=places.git), at=own)
    if places.lfs:
        pull_lfs(places, url, secret)
    print(f"{url} at {git('rev-parse', 'HEAD', at=own)[:12]}, on {branch}")
