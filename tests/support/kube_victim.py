"""Serves a KubeApi until it is killed: `python -m tests.support.kube_victim STORE PORT_FILE`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.support.kube_server import make_kube, serving


async def main(store: Path, received: Path) -> None:
    async with serving(make_kube(store)) as url:
        draft = received.with_suffix(".draft")
        draft.write_text(url)
        draft.rename(received)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
