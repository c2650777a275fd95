"""Apply an overlay in parts until all of it works: `make deploy OVERLAY=production TAG=v1.2.3`.

IMAGE and TAG, where given, stand in for the overlay's own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

from knative.deploy.kubectl import Kubectl
from knative.deploy.overlay import Manifest, folder, namespace_of, objects, of, render, title
from knative.deploy.parts import AGAIN, parts, revived
from knative.deploy.preflight import (
    refuse_other_brokers,
    refuse_unprepared,
    warn_of_refused_pods,
)
from knative.deploy.waiting import await_jobs, await_ready

# Kubernetes and Knative allow no change of these; neither holds anything, so the old ones go first.
_JOBS, _EVENT_TYPES = ("jobs", "job"), ("eventtypes.eventing.knative.dev", "event-type")


def make_room(kubectl: Kubectl, kind: str, component: str) -> None:
    label = f"app.kubernetes.io/part-of=dsm,app.kubernetes.io/component={component}"
    print(kubectl("delete", "--ignore-not-found", "-n", "dsm", "-l", label, kind), end="")


def apply(kubectl: Kubectl, found: Sequence[Manifest]) -> str:
    """What kubectl says of each object."""
    if not found:
        return ""  # kubectl refuses an empty list
    items = revived(kubectl, found)
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    try:
        said = kubectl("apply", "-f", "-", given=given)
    except SystemExit as error:
        # Of what it refuses, a webhook tells no name.
        done = {line.split()[0] for line in str(error).splitlines() if "/" in line.split(" ")[0]}
        left = sorted(title for title in map(title, found) if title not in done)
        raise SystemExit(
            f"{error}\nNot applied: {', '.join(left)}, nor what comes after them.\nMend that and "
            "deploy again."
        ) from None
    print(said, end="", flush=True)
    return said


def touch_bindings(kubectl: Kubectl, found: Sequence[Manifest], applied: str) -> None:
    """A SinkBinding that outlived its Broker finds the new one only when it is changed."""
    created = {
        (namespace_of(broker), broker["metadata"]["name"])
        for broker in of(found, "Broker")
        if f"broker.eventing.knative.dev/{broker['metadata']['name']} created" in applied
    }
    for binding in of(found, "SinkBinding"):
        ref = binding["spec"]["sink"].get("ref", {})
        space, name = namespace_of(binding), binding["metadata"]["name"]
        if (ref.get("namespace") or space, ref.get("name")) in created:
            kind = "sinkbinding.sources.knative.dev"
            mark = f"{AGAIN}={time.time():.0f}"
            print(kubectl("annotate", "--overwrite", kind, name, "-n", space, mark), end="")


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
    warn_of_refused_pods(kubectl, found)
    ground, broker, rest = parts(found)
    make_room(kubectl, *_JOBS)
    apply(kubectl, ground)
    await_jobs(kubectl, of(ground, "Job"))
    applied = apply(kubectl, broker)
    await_ready(kubectl, [one for one in broker if one["kind"] != "SinkBinding"])
    touch_bindings(kubectl, broker, applied)
    await_ready(kubectl, list(of(broker, "SinkBinding")))
    make_room(kubectl, *_EVENT_TYPES)
    apply(kubectl, rest)
    await_ready(kubectl, rest)
    await_jobs(kubectl, of(rest, "Job"))
    print("All of it is ready.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
