"""`python -m functions.agent_pod prepare|collect|model`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

# In COLLECTED_DIR, once the sidecar is ready for the end of the agent: the startup probe of the
# pod looks for it, and the agent begins.
STARTED = "started"
_END = {signal.SIGTERM, signal.SIGINT}


def main(arguments: list[str]) -> int:
    """Return 0, or 1 with the reason on standard error."""
    # Before whatever takes time to import: a container's first process gets no signal that it does
    # not ask for, and any other ends by it.
    if arguments == ["collect"]:
        signal.pthread_sigmask(signal.SIG_BLOCK, _END)
        _started().unlink(missing_ok=True)  # of a start before, which has failed
    else:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if arguments == ["model"]:
        return _model()
    from functions.agent_pod.collect import Sidecar
    from functions.agent_pod.environment import Failure, Places
    from functions.agent_pod.prepare import prepare
    from functions.kit.errors import FunctionError

    try:
        match arguments:
            case ["prepare"]:
                prepare(Places.read())
            case ["collect"]:
                places = Places.read()
                sidecar = Sidecar(places)
                _started().touch()
                # Until the other containers have ended.
                while signal.sigtimedwait(_END, places.checkpoint_s) is None:
                    sidecar.checkpoint()
                sidecar.collect()
            case _:
                raise Failure("name prepare, collect or model")
    except (Failure, FunctionError) as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


def _started() -> Path:
    return Path(os.environ.get("COLLECTED_DIR", "."), STARTED)


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
