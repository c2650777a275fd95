"""Apply an overlay in parts until all of it works: `make deploy OVERLAY=production TAG=v1.2.3`.

IMAGE and TAG, where given, stand in for the overlay's own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from knative.deploy.kubectl import Kubectl
from knative.deploy.overlay import Manifest, folder, objects, of, render, title
from knative.deploy.parts import parts, revived
from knative.deploy.preflight import refuse_other_brokers, refuse_unprepared
from knative.deploy.waiting import await_jobs, await_ready

# Kubernetes and Knative allow no change of these; neither holds anything, so the old ones go first.
_JOBS, _EVENT_TYPES = ("jobs", "job"), ("eventtypes.eventing.knative.dev", "event-type")


def make_room(kubectl: Kubectl, kind: str, component: str) -> None:
    label = f"app.kubernetes.io/part-of=dsm,app.kubernetes.io/component={component}"
    print(kubectl("delete", "--ignore-not-found", "-n", "dsm", "-l", label, kind), end="")


def apply(kubectl: Kubectl, found: Sequence[Manifest]) -> None:
    if not found:
        return  # kubectl refuses an empty list
    items = revived(kubectl, found)
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    try:
        print(kubectl("apply", "-f", "-", given=given), end="", flush=True)
    except SystemExit as error:
        # Of what it refuses, a webhook tells no name.
        done = {line.split()[0] for line in str(error).splitlines() if "/" in line.split(" ")[0]}
        left = sorted(title for title in map(title, found) if title not in done)
        raise SystemExit(
            f"{error}\nNot applied: {', '.join(left)}, nor what comes after them.\nMend that and "
            "deploy again."
        ) from None


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m knative.deploy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overlay", help="its name in knative/overlays, or a folder")
    parser.add_argument("--image", default="", help="another image than the overlay's")
    parser.add_argument("--tag", default="", help="another tag, or sha256:... for a digest")
    parser.add_argument("--kubectl", default="kubectl", help="default: kubectl")
    arguments = parser.parse_args(argv)
    kubectl = Kubectl(arguments.kubectl)
    overlay = folder(arguments.overlay)
    text = render(kubectl, overlay, arguments.image, arguments.tag)
    found = objects(text)
    print(f"Overlay {overlay.name} to context {kubectl.context()}", flush=True)
    refuse_unprepared(kubectl, found)
    refuse_other_brokers(kubectl, found)
    ground, broker, rest = parts(found)
    make_room(kubectl, *_JOBS)
    apply(kubectl, ground)
    await_jobs(kubectl, of(ground, "Job"))
    apply(kubectl, broker)
    await_ready(kubectl, broker)
    make_room(kubectl, *_EVENT_TYPES)
    apply(kubectl, rest)
    await_ready(kubectl, rest)
    await_jobs(kubectl, of(rest, "Job"))
    print("All of it is ready.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
