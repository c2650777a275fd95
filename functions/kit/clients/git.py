"""Git as a process, with no configuration but what is given here, and a limit on its time.

Whatever a repository, a user or a machine may have configured (hooks, filters, helpers) is not
read, as long as the repository is one that we have made.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

from functions.kit.clients import transaction_guard
from functions.kit.errors import PermanentError

TIMEOUT_S = 300.0
# Of one process whose objects are a stranger's: its own memory, each file that it writes, and what
# of its output is read. Larger blobs than MAX_HELD_BYTES are never in memory as a whole.
MAX_MEMORY_MB, MAX_FILE_MB = 384, 256
MAX_HELD_BYTES = 5_000_000
MAX_OUTPUT_BYTES = 16_000_000
# A shell's `ulimit -f` counts blocks of 512 bytes, or of 1024: it may be twice as much.
_LIMITS = f'ulimit -d {MAX_MEMORY_MB * 1024} && ulimit -f {MAX_FILE_MB * 2048} && exec "$@"'
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
    within: Path | None = None,
    env: Mapping[str, str] | None = None,
    given: bytes = b"",
    timeout_s: float = TIMEOUT_S,
    limited: bool = False,
) -> str:
    """Run git for the bare repository `at`, or `within` a working tree of ours; return what it
    prints."""
    options: Any = {"env": env, "given": given, "timeout_s": timeout_s, "limited": limited}
    found = git_bytes(*arguments, at=at, within=within, **options)
    return found.decode(errors="replace").strip()


def git_bytes(
    *arguments: str,
    at: Path | None = None,
    within: Path | None = None,
    env: Mapping[str, str] | None = None,
    given: bytes = b"",
    timeout_s: float = TIMEOUT_S,
    limited: bool = False,
) -> bytes:
    """The same as bytes; `given` is what it reads. `limited` is for the objects of a stranger,
    which may inflate without end."""
    transaction_guard.network_call(f"git {arguments[0]}")
    place = [f"--git-dir={at}"] if at else ["-C", str(within)] if within else []
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    held = ("-c", f"core.bigFileThreshold={MAX_HELD_BYTES}")
    before = ("sh", "-c", _LIMITS, "sh", "git", *held) if limited else ("git",)
    # What is limited goes to a file, as a pipe has no limit.
    with tempfile.TemporaryFile() if limited else nullcontext() as file:
        try:
            ran = subprocess.run(
                [*before, *place, *arguments],
                env={**passed, **_ALONE, **(env or {})},
                input=given,
                stdout=file or subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise GitError(f"git {arguments[0]} took more than {timeout_s:.0f} s") from None
        output = ran.stdout if file is None else _read(file)
    if limited and (len(output) > MAX_OUTPUT_BYTES or ran.returncode == -signal.SIGXFSZ):
        raise GitError(f"git {arguments[0]}: more than {MAX_OUTPUT_BYTES // 10**6} MB come of it")
    if ran.returncode:
        text = (ran.stderr + output).decode(errors="replace").strip()
        raise GitError(f"git {arguments[0]}: {text[-500:]}")
    return output


def _read(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(MAX_OUTPUT_BYTES + 1)


def configured(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment with these settings of git's: they stand in no argument and no file."""
    found = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings.items()):
        found |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return found


def authorization(token: str, url: str = "") -> dict[str, str]:
    """The setting that sends a token, with `url` to what is below it alone; none without one."""
    if not token:
        return {}
    value = b64encode(f"x-access-token:{token}".encode()).decode()
    return {
        f"http.{url}.extraHeader" if url else "http.extraHeader": f"Authorization: Basic {value}"
    }
