"""Delete an overlay's objects: `make undeploy OVERLAY=kind YES=1`; without YES=1 a dry run.

The namespaces stay, with all other objects and the Secrets that were created by hand; so does the
volume of a database in the cluster.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import yaml

from knative.deploy.kubectl import Kubectl
from knative.deploy.overlay import folder, objects

# The PingSources of sprints, which are in no overlay.
_SPRINT_SCHEDULES = (
    "pingsources.sources.knative.dev",
    "app.kubernetes.io/managed-by=project-orchestrator",
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m knative.deploy.undeploy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overlay", help="its name in knative/overlays, or a folder")
    parser.add_argument("--yes", action="store_true", help="delete them")
    parser.add_argument("--kubectl", default="kubectl", help="default: kubectl; options may follow")
    arguments = parser.parse_args(argv)
    kubectl, overlay = Kubectl(arguments.kubectl), folder(arguments.overlay)
    print(f"Overlay {overlay.name} from context {kubectl.context()}", flush=True)
    manifests = objects(kubectl("kustomize", str(overlay)))
    text = yaml.safe_dump_all(m for m in manifests if m["kind"] != "Namespace")
    dry = () if arguments.yes else ("--dry-run=client",)
    print(kubectl("delete", "-f", "-", "--ignore-not-found", *dry, stdin=text), end="")
    kind, label = _SPRINT_SCHEDULES
    print(kubectl("delete", kind, "-n", "dsm", "-l", label, "--ignore-not-found", *dry), end="")
    namespaces = ", ".join(
        sorted(m["metadata"]["name"] for m in manifests if m["kind"] == "Namespace")
    )
    print(f"What stays: the namespaces {namespaces}, Secrets made by hand, volumes of databases.")
    if not arguments.yes:
        print(f"A dry run: `make undeploy OVERLAY={arguments.overlay} YES=1` deletes them.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
