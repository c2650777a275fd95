"""Git as a process, with no configuration but what is given here, and a limit on its time.

Whatever a repository, a user or a machine may have configured (hooks, filters, helpers) is not
read, as long as the repository is one that we have made.
"""

from __future__ import annotations

import os
import subprocess
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

from functions.kit.clients import transaction_guard
from functions.kit.errors import PermanentError

TIMEOUT_S = 300.0
_ALONE = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "http:https:file",
    "GIT_LFS_SKIP_SMUDGE": "1",
    # A proxy that wants a password may not ask for it.
    "GIT_HTTP_PROXY_AUTHMETHOD": "basic",
    "LC_ALL": "C",
}
# Where programs and temporary files are, and a proxy.
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "http_proxy", "https_proxy", "HTTPS_PROXY", "no_proxy")


class GitError(PermanentError):
    """Git failed; the text is its own, at its end."""


def git(
    *arguments: str,
    at: Path | None = None,
    env: Mapping[str, str] | None = None,
    given: bytes = b"",
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Run git for the bare repository `at`; return what it prints."""
    found = git_bytes(*arguments, at=at, env=env, given=given, timeout_s=timeout_s)
    return found.decode(errors="replace").strip()


def git_bytes(
    *arguments: str,
    at: Path | None = None,
    env: Mapping[str, str] | None = None,
    given: bytes = b"",
    timeout_s: float = TIMEOUT_S,
) -> bytes:
    """The same as bytes; `given` is what it reads."""
    transaction_guard.network_call(f"git {arguments[0]}")
    place = [f"--git-dir={at}"] if at else []
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        ran = subprocess.run(
            ["git", *place, *arguments],
            env={**passed, **_ALONE, **(env or {})},
            input=given,
            capture_output=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise GitError(f"git {arguments[0]} took more than {timeout_s:.0f} s") from None
    if ran.returncode:
        output = (ran.stderr + ran.stdout).decode(errors="replace").strip()
        raise GitError(f"git {arguments[0]}: {output[-500:]}")
    return ran.stdout


def authorization(token: str) -> dict[str, str]:
    """The environment that sends a token; it stands in no argument and no file."""
    if not token:
        return {}
    value = b64encode(f"x-access-token:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {value}",
    }
