"""Which services have shown that they start, so that the next `up` need not try them again."""

from __future__ import annotations

import hashlib
import json
import sys
import sysconfig
from pathlib import Path

from knative.local.environment import REPOSITORY, Launch

_VARIES = {"PORT", "HTTP_PROXY", "http_proxy"}  # from run to run, without a meaning for a start


class Trials:
    """Remembers in `file` the fingerprint that each service last started with."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._code = _code_fingerprint()
        try:
            self._passed: dict[str, str] = json.loads(file.read_text())
        except (OSError, ValueError):
            self._passed = {}

    def passed(self, name: str, launch: Launch) -> bool:
        """Did `name` start before with the same code, command and environment?"""
        return self._passed.get(name) == self._fingerprint(launch)

    def note(self, name: str, launch: Launch) -> None:
        self._passed[name] = self._fingerprint(launch)
        self._file.write_text(json.dumps(self._passed))

    def _fingerprint(self, launch: Launch) -> str:
        env = sorted(pair for pair in launch.env.items() if pair[0] not in _VARIES)
        told = json.dumps([self._code, launch.argv, env, str(launch.cwd)])
        return hashlib.sha256(told.encode()).hexdigest()


def _code_fingerprint() -> str:
    """Of Python, its packages and everything that a function is made of."""
    facts = [sys.version, str(Path(sysconfig.get_path("purelib")).stat().st_mtime_ns)]
    for file in sorted((REPOSITORY / "functions").rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            stat = file.stat()
            facts.append(f"{file}:{stat.st_mtime_ns}:{stat.st_size}")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()
