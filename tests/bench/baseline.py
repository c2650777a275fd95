"""A bare functions-framework app under the same server and settings as ours.

Run as a program: TARGET PORT. It imports nothing of the kit, so that it is as light as it can be.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import functions_framework.aio
import uvicorn


def main() -> None:
    target, port = sys.argv[1:]
    source = Path(__file__).with_name("framework_targets.py")
    create: Any = functions_framework.aio.create_asgi_app  # it has no annotations
    app = create(target, str(source))
    uvicorn.run(app, port=int(port), log_config=None, access_log=False, server_header=False)


if __name__ == "__main__":
    main()
