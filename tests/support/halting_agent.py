"""An agent that does half of its work and hangs; where half of it is done, it does the rest."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path


def main() -> None:
    repository = Path(os.environ["REPOSITORY_DIR"])
    half = repository / "src/half.py"
    session, notes = Path(os.environ["SESSION_FILE"]), Path(os.environ["STATE_DIR"]) / "notes"

    def commit(message: str) -> None:
        git = ["git", "-C", str(repository)]
        subprocess.run([*git, "add", "--all"], check=True)
        subprocess.run([*git, "commit", "--quiet", "-m", message], check=True)

    if not half.exists():
        session.write_text("session-7")
        notes.write_text("the half is left")
        (repository / "src/first.py").write_text("first = 1\n")
        commit("The first half")
        half.write_text("half = 1\n")
        print("halfway", flush=True)
        time.sleep(600)
    half.write_text(f"{half.read_text()}whole = True\n")
    commit("The second half")
    wanted = {
        "pull_request": {"title": "Both halves"},
        "summary": f"Went on in {session.read_text()}: {notes.read_text()}.",
    }
    Path(os.environ["OUTPUTS_FILE"]).write_text(json.dumps(wanted))


if __name__ == "__main__":
    main()
