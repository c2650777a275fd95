"""`python -m functions.agent_pod prepare|collect|model`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

# In COLLECTED_DIR, once the end of the agent is not missed any more: the startup probe of the pod
# looks for it. Before, SIGTERM ends a process, or is lost on it where it is a container's first.
STARTED = "started"
_END = {signal.SIGTERM, signal.SIGINT}


def main(arguments: list[str]) -> int:
    """Return 0, or 1 with the reason on standard error."""
    if arguments == ["collect"]:
        # Before whatever takes time to import: from the file on, the agent may run and end at once.
        signal.pthread_sigmask(signal.SIG_BLOCK, _END)
        if folder := os.environ.get("COLLECTED_DIR"):
            (Path(folder) / STARTED).touch()
    if arguments == ["model"]:
        return _model()
    from functions.agent_pod.collect import Sidecar
    from functions.agent_pod.environment import Failure, Places
    from functions.agent_pod.prepare import prepare
    from functions.kit.errors import FunctionError

    try:
        match arguments:
            case ["prepare"]:
                # A container's first process gets no signal that it does not ask for.
                signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
                prepare(Places.read())
            case ["collect"]:
                sidecar = Sidecar(Places.read())
                # Until the other containers have ended.
                while signal.sigtimedwait(_END, sidecar.places.checkpoint_s) is None:
                    sidecar.checkpoint()
                sidecar.collect()
            case _:
                raise Failure("name prepare, collect or model")
    except (Failure, FunctionError) as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


def _model() -> int:
    from functions.agent_pod.environment import Failure
    from functions.agent_pod.model import serve

    try:
        serve()
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
