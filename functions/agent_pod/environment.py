"""Where things are in the pod, and how agent-outputs is asked."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAUSE_S = 1.0
MAX_PAUSE_S = 15.0


class Failure(Exception):
    """The container cannot do its work; the text says why."""


@dataclass(frozen=True)
class Places:
    """The agent may write below `repository` and to `outputs`, and sees nothing else of these."""

    repository: Path
    outputs: Path
    collected: Path
    grant: Path
    outputs_url: str
    job: str
    checkpoint_s: float = 60.0
    submodules: bool = False
    lfs: bool = False
    # Where the model's sidecar leaves the tokens that it has counted.
    model_usage: Path | None = None
    # This pod's uid: what a Job has used is the sum over its pods.
    pod: str = ""

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Places:
        """The pod's environment; `Failure` names a variable that is missing."""
        try:
            return cls(
                repository=Path(environ["REPOSITORY_DIR"]),
                outputs=Path(environ["OUTPUTS_FILE"]),
                collected=Path(environ["COLLECTED_DIR"]),
                grant=Path(environ["GRANT_FILE"]),
                outputs_url=environ["AGENT_OUTPUTS_URL"].rstrip("/"),
                job=environ["JOB_NAME"],
                checkpoint_s=float(environ.get("CHECKPOINT_SECONDS", "60")),
                submodules=environ.get("SUBMODULES") == "true",
                lfs=environ.get("LFS") == "true",
                model_usage=Path(counted) if (counted := environ.get("MODEL_USAGE_FILE")) else None,
                pod=environ.get("POD_UID", ""),
            )
        except KeyError as error:
            raise Failure(f"the variable {error.args[0]} is missing") from None

    @property
    def session(self) -> Path:
        """Where the agent leaves the id of its session, for the run after."""
        return self.outputs.with_name("session")

    @property
    def usage(self) -> Path:
        """Where the agent leaves what it has used so far."""
        return self.outputs.with_name("usage.json")

    @property
    def state(self) -> Path:
        """What the agent keeps for the run after; it may write there."""
        return self.outputs.with_name("state")

    @property
    def state_objects(self) -> Path:
        """Where git's objects of that are, as they were at the last look."""
        return self.collected / "state" / "objects"

    @property
    def lfs_names(self) -> Path:
        """Which files are of LFS, each name with a zero byte after it; there where there are."""
        return self.collected / "lfs-names"

    @property
    def git(self) -> Path:
        """A bare repository of our own, whose configuration the agent cannot write."""
        return self.collected / "repository.git"


def post(places: Places, what: str, body: Mapping[str, Any], timeout_s: float) -> Any:
    """Post to agent-outputs, again while it is away; `Failure` at the timeout or a refusal."""
    import httpx  # after the start: a sidecar has to be there at once

    url = f"{places.outputs_url}/jobs/{places.job}/{what}"
    grant = places.grant.read_text().strip()
    headers = {"Authorization": f"Bearer {grant}", "X-Pod": places.pod}
    deadline = time.monotonic() + timeout_s
    pause_s = PAUSE_S
    while True:
        try:
            answer = httpx.post(url, json=body, headers=headers, timeout=30)
        except httpx.HTTPError as error:
            problem = f"{type(error).__name__} {error}".rstrip()
        else:
            if answer.is_success:
                return answer.json()
            problem = f"{answer.status_code} {answer.text[:500]}"
            if answer.status_code not in (404, 408, 425, 429) and answer.status_code < 500:
                raise Failure(f"agent-outputs refuses: {problem}")
        if time.monotonic() + pause_s > deadline:
            raise Failure(f"agent-outputs cannot be reached: {problem}")
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, MAX_PAUSE_S)
