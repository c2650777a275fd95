"""Apply an overlay in parts and wait for each: `make deploy OVERLAY=production TAG=v1.2.3`.

IMAGE and TAG, where given, replace the overlay's own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

from knative.deploy.kubectl import Kubectl
from knative.deploy.overlay import (
    Manifest,
    folder,
    kubectl_name,
    namespace_of,
    objects,
    of_kind,
    render,
)
from knative.deploy.parts import RETRY_ANNOTATION, before_broker, split, with_retries
from knative.deploy.preflight import (
    check_identities,
    require_known_approvers,
    require_prerequisites,
    require_same_broker_class,
    warn_of_live_brokers,
    warn_of_rejected_pods,
)
from knative.deploy.waiting import await_jobs, await_ready

# Kubernetes and Knative reject changes of these; both are without state, so they are deleted first.
_JOBS, _EVENT_TYPES = ("jobs", "job"), ("eventtypes.eventing.knative.dev", "event-type")


def delete_immutable(kubectl: Kubectl, kind: str, component: str) -> None:
    label = f"app.kubernetes.io/part-of=dsm,app.kubernetes.io/component={component}"
    print(kubectl("delete", "--ignore-not-found", "-n", "dsm", "-l", label, kind), end="")


def apply(kubectl: Kubectl, manifests: Sequence[Manifest]) -> str:
    """Apply the objects; return the output of kubectl."""
    if not manifests:
        return ""  # kubectl rejects an empty list
    items = with_retries(kubectl, manifests)
    body = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    try:
        output = kubectl("apply", "-f", "-", stdin=body)
    except SystemExit as error:
        # The message of a webhook has no object's name.
        done = {line.split()[0] for line in str(error).splitlines() if "/" in line.split(" ")[0]}
        missing = sorted(name for name in map(kubectl_name, manifests) if name not in done)
        raise SystemExit(
            f"{error}\nNot applied: {', '.join(missing)}, nor the parts after them.\nCorrect that "
            "and deploy again."
        ) from None
    print(output, end="", flush=True)
    return output


def touch_bindings(kubectl: Kubectl, manifests: Sequence[Manifest], applied: str) -> None:
    """Annotate SinkBindings of created Brokers: an unchanged one keeps the old Broker's address."""
    created = {
        (namespace_of(broker), broker["metadata"]["name"])
        for broker in of_kind(manifests, "Broker")
        if f"broker.eventing.knative.dev/{broker['metadata']['name']} created" in applied
    }
    for binding in of_kind(manifests, "SinkBinding"):
        ref = binding["spec"]["sink"].get("ref", {})
        namespace, name = namespace_of(binding), binding["metadata"]["name"]
        if (ref.get("namespace") or namespace, ref.get("name")) in created:
            kind = "sinkbinding.sources.knative.dev"
            mark = f"{RETRY_ANNOTATION}={time.time():.0f}"
            print(kubectl("annotate", "--overwrite", kind, name, "-n", namespace, mark), end="")


def apply_broker(kubectl: Kubectl, manifests: Sequence[Manifest]) -> None:
    """Apply Brokers and what belongs to them, then wait until their SinkBindings are ready too."""
    applied = apply(kubectl, manifests)
    await_ready(kubectl, [each for each in manifests if each["kind"] != "SinkBinding"])
    touch_bindings(kubectl, manifests, applied)
    await_ready(kubectl, list(of_kind(manifests, "SinkBinding")))


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
    manifests = objects(text)
    print(f"Overlay {overlay.name} to context {kubectl.context()}", flush=True)
    require_prerequisites(kubectl, manifests)
    require_same_broker_class(kubectl, manifests)
    check_identities(kubectl, manifests)
    require_known_approvers(manifests)
    warn_of_rejected_pods(kubectl, manifests)
    warn_of_live_brokers(kubectl, manifests)
    prerequisites, broker, rest = split(manifests)
    delete_immutable(kubectl, *_JOBS)
    apply(kubectl, prerequisites)
    await_jobs(kubectl, of_kind(prerequisites, "Job"))
    apply_broker(kubectl, before_broker(kubectl, broker))
    apply_broker(kubectl, broker)
    delete_immutable(kubectl, *_EVENT_TYPES)
    apply(kubectl, rest)
    await_ready(kubectl, rest)
    await_jobs(kubectl, of_kind(rest, "Job"))
    print("All of it is ready.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
