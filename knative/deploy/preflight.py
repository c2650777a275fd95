"""What is wrong before anything has been changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from knative.deploy.kubectl import Kubectl
from knative.deploy.overlay import Manifest, group, namespace_of, of


def refuse_unprepared(kubectl: Kubectl, found: Sequence[Manifest]) -> None:
    """What the cluster lacks and the overlay does not bring: it would show as a wait in vain."""
    rows = map(str.split, kubectl("api-resources", "--no-headers", quiet=True).splitlines())
    # Of each kind its preferred version only, so the group has to do.
    known = {(group(row[-3]), row[-1]) for row in rows if len(row) > 3}
    wanted = {(group(m["apiVersion"]), m["kind"]) for m in found}
    if known and (unknown := wanted - known):
        kinds = ", ".join(sorted(f"{kind} ({group or 'v1'})" for group, kind in unknown))
        raise SystemExit(
            f"The cluster does not know {kinds}: install what brings them first "
            "(knative/README.md, Deploy). Nothing has been changed."
        )
    made = {(namespace_of(m), m["metadata"]["name"]) for m in of(found, "Secret")}
    for space, name in sorted(set(_secrets(found)) - made):
        there = kubectl("get", "secret", name, "-n", space, "-o", "name", "--ignore-not-found")
        if not there.strip():
            raise SystemExit(
                f"Secret {space}/{name} is not in the cluster: make it first "
                "(knative/README.md, Production). Nothing has been changed."
            )


def _secrets(found: Sequence[Manifest]) -> Iterator[tuple[str, str]]:
    """Namespace and name of each Secret without which a pod cannot start."""
    for manifest in found:
        pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
        for container in pod.get("containers", ()):
            for variable in container.get("env", ()):
                ref = variable.get("valueFrom", {}).get("secretKeyRef")
                if ref and not ref.get("optional"):
                    yield namespace_of(manifest), ref["name"]


def refuse_other_brokers(kubectl: Kubectl, found: Sequence[Manifest]) -> None:
    """A Broker's class cannot be changed; another one in the cluster means: not this overlay."""
    key = "eventing.knative.dev/broker.class"
    path = "jsonpath={.metadata.annotations.eventing\\.knative\\.dev/broker\\.class}"
    for broker in of(found, "Broker"):
        name, space = broker["metadata"]["name"], namespace_of(broker)
        ours = broker["metadata"].get("annotations", {}).get(key)
        there = kubectl(
            "get", "broker", name, "-n", space, "-o", path, "--ignore-not-found"
        ).strip()
        if ours and there and ours != there:
            raise SystemExit(
                f"The cluster's Broker {space}/{name} is {there}, the overlay's {ours}: is this "
                "the right overlay for this cluster? Nothing has been changed."
            )
