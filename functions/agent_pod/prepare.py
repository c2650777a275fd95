"""Make the workspace: the repository, shallow, on the task's own branch."""

from __future__ import annotations

from contextlib import suppress

from functions.agent_pod.environment import Failure, Places, post
from functions.kit.clients.git import GitError, authorization, git

ASK_S = 300.0
REPORT_S = 60.0
BASE = "refs/heads/base"


def prepare(places: Places) -> None:
    """Make the workspace; where that fails, have agent-outputs know why."""
    try:
        _prepare(places)
    except (Failure, GitError) as failure:
        with suppress(Failure):  # the first one counts
            problem = {"prepared": False, "problems": [str(failure)[:2000]]}
            post(places, "outputs", problem, REPORT_S)
        raise


def _prepare(places: Places) -> None:
    """Fetch the base once, with the token, into a repository of our own; the agent's is made of it.

    The agent's has neither the token nor a remote that needs one for reading what is public.
    """
    given = post(places, "workspace", {}, ASK_S)
    url, branch = str(given["clone_url"]), str(given["branch"])
    token = authorization(str(given.get("token") or ""))
    git("init", "--quiet", "--bare", str(places.git))
    # A task that was worked on before goes on from its branch.
    begun = git("ls-remote", url, f"refs/heads/{branch}", env=token)
    source = f"refs/heads/{branch}" if begun else str(given.get("ref") or "HEAD")
    git(
        "fetch",
        "--quiet",
        "--depth=1",
        "--no-tags",
        url,
        f"{source}:{BASE}",
        env=token,
        at=places.git,
    )
    git("init", "--quiet", f"--initial-branch={branch}", str(places.repository))
    own = places.repository / ".git"
    git("fetch", "--quiet", "--depth=1", f"file://{places.git}", BASE, at=own)
    for name, value in (
        ("user.name", str(given["author_name"])),
        ("user.email", str(given["author_email"])),
        ("remote.origin.url", url),
    ):
        git("config", name, value, at=own)
    git(f"--work-tree={places.repository}", "reset", "--quiet", "--hard", "FETCH_HEAD", at=own)
    print(f"{url} at {git('rev-parse', 'HEAD', at=own)[:12]}, on {branch}")
