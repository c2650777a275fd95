"""An agent without a model: it does what an issue asks for in one plain sentence, and no more.

    In `src/basket.py`, replace `items[:-1]` by `items`.

It shows what an image owes: commits on its branch, and an outputs file. Where the machine has
Claude Code and the Job a key for it, that works in its place; the log says which of both did.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

# A file of its own, as in an image.
CLAUDE_CODE = Path(__file__).resolve().parents[2] / "functions" / "agent_pod" / "claude_code.py"

_ASKED = re.compile(r"In `([\w./-]+)`, replace `([^`\n]+)` by `([^`\n]+)`")

NO_REPOSITORY: dict[str, object] = {
    "nothing_to_do": "This agent replaces text in files, and the task names no repository."
}


def why_not_claude(environ: Mapping[str, str]) -> str:
    """Why the sample works in the place of Claude Code; empty where that can.

    >>> why_not_claude({"PATH": "/nowhere"})
    'this machine has no claude'
    """
    if shutil.which("claude", path=environ.get("PATH")) is None:
        return "this machine has no claude"
    key = environ.get("ANTHROPIC_API_KEY")
    if not key:
        return "claude has no ANTHROPIC_API_KEY"
    # Where a sidecar has the key, the agent's own is none.
    base = environ.get("ANTHROPIC_BASE_URL")
    return "the model's sidecar has no key" if base and _refuses(f"{base}/v1/models", key) else ""


def _refuses(url: str, key: str) -> bool:
    """Does the model's API ask for another key there?"""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        asked = urllib.request.Request(url, headers={"x-api-key": key})
        direct.open(asked, timeout=30).close()
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False  # Claude Code reports what is wrong, and tries again
    return False


def main() -> int:
    """Return 0 with an outputs file; 1 where its place is not named."""
    reason = why_not_claude(os.environ)
    if not reason:
        print("Claude Code works on it", flush=True)
        os.execv(sys.executable, [sys.executable, str(CLAUDE_CODE)])
    print(f"the sample agent without a model works on it: {reason}", flush=True)
    try:
        outputs = Path(os.environ["OUTPUTS_FILE"])
        task = (Path(os.environ["TASK_DIR"]) / "task.md").read_text()
    except KeyError as error:
        print(f"the variable {error.args[0]} is missing: this agent needs a route with outputs")
        return 1
    repository = os.environ.get("REPOSITORY_DIR")
    asked_for = work(Path(repository), task) if repository else NO_REPOSITORY
    outputs.write_text(json.dumps(asked_for))
    print(json.dumps(asked_for, indent=2))
    return 0


def work(repository: Path, task: str) -> dict[str, object]:
    """Do what the task asks; return the outputs."""
    asked = _ASKED.findall(task)
    if not asked:
        reason = "The issue has no sentence of the form: In `FILE`, replace `A` by `B`."
        return {"nothing_to_do": reason}
    changed = []
    for name, old, new in asked:
        file = (repository / name).resolve()
        if not file.is_relative_to(repository.resolve()) or not file.is_file():
            return {"nothing_to_do": f"There is no file {name}."}
        text = file.read_text()
        if old in text:
            file.write_text(text.replace(old, new))
            changed.append(name)
    if not changed:
        return {"nothing_to_do": "What should be replaced is not there."}
    title = task.partition("\n")[0].lstrip("# ").strip() or "Do what the issue asks"
    git = ["git", "-C", str(repository)]
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", title], check=True)
    names = ", ".join(f"`{name}`" for name in changed)
    return {
        "pull_request": {"title": title, "body": f"Changes {names}, as the issue asks."},
        "summary": f"Replaced what the issue names in {names}.",
        "usage": {"turns": 1},
    }


if __name__ == "__main__":
    sys.exit(main())
