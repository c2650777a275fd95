"""Which services have shown that they start, so that the next `up` need not try them again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import sysconfig
from pathlib import Path
from urllib.parse import quote

from knative.local.environment import Launch

_VARIES = {
    "PORT",
    "HTTP_PROXY",
    "http_proxy",
    "CLOCK_FILE",
    "GATEWAY_TOKEN",
}  # from run to run, without a meaning for a start

_NO_CODE = {"__pycache__", "node_modules", "venv"}


class StartupCache:
    """Remembers in `file` the fingerprint that each service last started with."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._code: dict[Path, str] = {}  # by the folder of a program
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
        if launch.cwd not in self._code:
            self._code[launch.cwd] = _code_fingerprint(launch.cwd)
        facts = json.dumps([self._code[launch.cwd], launch.argv, env, str(launch.cwd)])
        # A data folder may be moved or copied.
        for data in (str(self._file.parent), quote(str(self._file.parent), safe="")):
            facts = facts.replace(data, "")
        return hashlib.sha256(facts.encode()).hexdigest()


def _code_fingerprint(folder: Path) -> str:
    """Of Python, its packages and the files of a program: not what it writes beside them."""
    facts = [sys.version, str(Path(sysconfig.get_path("purelib")).stat().st_mtime_ns)]
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not (f.startswith(".") or f in _NO_CODE))
        for file in sorted(files):
            with contextlib.suppress(OSError):  # it went away just now
                stat = Path(place, file).stat()
                facts.append(f"{place}/{file}:{stat.st_mtime_ns}:{stat.st_size}")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()
