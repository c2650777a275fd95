"""Data folders in which overlays/local has been up before: a second start costs a tenth.

PostgreSQL is initialised there, the migrations have run, and each Service has shown that it starts.
"""

from __future__ import annotations

import fcntl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.local_knative import ROOT, local_knative

OVERLAY = ROOT / "knative/overlays/local"


@dataclass(frozen=True)
class WarmData:
    """Makes copies of folders in `home`, which the processes of one test run share."""

    home: Path

    def copy_to(self, data: Path) -> Path:
        """Make the folder `data`."""
        warm = self.home / "warm"
        with (self.home / f"{warm.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not warm.exists():
                made = warm.with_suffix(".new")
                with local_knative(OVERLAY, made):
                    pass
                made.rename(warm)
        # With the owners of the files: PostgreSQL does not run as root.
        subprocess.run(["cp", "-a", str(warm), str(data)], check=True)
        return data
