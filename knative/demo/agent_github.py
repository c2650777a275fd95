"""The stand-in of GitHub that `make run` starts: in a checkout, where the tests are."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVICE = "github.dsm"


@asynccontextmanager
async def standin() -> AsyncIterator[str]:
    """Yield its URL; empty where there is none, as in an installed wheel, or no git."""
    if not (ROOT / "tests" / "support" / "github_process.py").is_file():
        yield ""
        return
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.github_process"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None, "a pipe"
    assert process.stdout is not None, "a pipe"
    try:
        line = await process.stdout.readline()
        yield str(json.loads(line)["url"]) if line else ""
    finally:
        process.stdin.close()
        await process.wait()
