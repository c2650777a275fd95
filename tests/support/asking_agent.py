"""An agent that asks its model once, with its whole environment as the question."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from pathlib import Path


def main() -> None:
    answer = ask(json.dumps(dict(os.environ)).encode())
    Path(os.environ["OUTPUTS_FILE"]).write_text(json.dumps({"nothing_to_do": answer}))


def ask(question: bytes) -> str:
    """The model's answer; as the clients of models do, it waits for what is not there yet."""
    headers = {"x-api-key": os.environ["ANTHROPIC_API_KEY"], "content-type": "application/json"}
    asked = urllib.request.Request(
        f"{os.environ['ANTHROPIC_BASE_URL']}/v1/messages", question, headers
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 60
    while True:
        try:
            with direct.open(asked, timeout=60) as answer:
                return str(json.load(answer)["content"][0]["text"])
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    main()
