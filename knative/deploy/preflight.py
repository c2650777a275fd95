"""What is wrong before anything has been changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from knative.deploy.kubectl import Kubectl, read_json
from knative.deploy.overlay import Manifest, group, namespace_of, of

_MADE_BY_KUBERNETES = "kube-root-ca.crt"  # in each namespace
# How a pod says that it needs one: for a variable, for all of them, as files.
_KINDS = {
    "secretKeyRef": "Secret",
    "secretRef": "Secret",
    "secret": "Secret",
    "configMapKeyRef": "ConfigMap",
    "configMapRef": "ConfigMap",
    "configMap": "ConfigMap",
}


_ENFORCE = "pod-security.kubernetes.io/enforce"
_WORKLOADS = "deployments,statefulsets,daemonsets,cronjobs"


def warn_of_refused_pods(kubectl: Kubectl, found: Sequence[Manifest]) -> None:
    """Print which workloads of others get no new pod once the namespace is `restricted`."""
    for namespace in of(found, "Namespace"):
        labels, space = namespace["metadata"].get("labels", {}), namespace["metadata"]["name"]
        if labels.get(_ENFORCE) != "restricted":
            continue
        asked = ("get", _WORKLOADS, "-n", space, "-o", "json")
        there = read_json(kubectl(*asked, quiet=True)).get("items", ())
        made = {(m["kind"], m["metadata"]["name"]) for m in found if namespace_of(m) == space}
        refused = [
            f"{one['kind']} {one['metadata']['name']}"
            for one in there
            if (one["kind"], one["metadata"]["name"]) not in made and not _is_restricted(_pod(one))
        ]
        if refused:
            print(
                f"Namespace {space} is going to enforce Pod Security `restricted`: new pods of "
                f"{', '.join(sorted(refused))} will be refused (knative/MIGRATION.md).",
                flush=True,
            )


def _pod(workload: Manifest) -> Manifest:
    spec = workload.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    pod: Manifest = spec.get("template", {}).get("spec", {})
    return pod


def _is_restricted(pod: Manifest) -> bool:
    """Does each container keep what `restricted` asks of all of them?"""
    common = pod.get("securityContext", {})
    for container in [*pod.get("initContainers", ()), *pod.get("containers", ())]:
        own = {**common, **container.get("securityContext", {})}
        drops = own.get("capabilities", {}).get("drop", ())
        profile = own.get("seccompProfile", {}).get("type")
        if not (
            own.get("runAsNonRoot") is True
            and own.get("allowPrivilegeEscalation") is False
            and "ALL" in drops
            and profile in ("RuntimeDefault", "Localhost")
        ):
            return False
    return True


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
            "(knative/DEPLOY.md). Nothing has been changed."
        )
    made = {(m["kind"], namespace_of(m), m["metadata"]["name"]) for m in found}
    for kind, space, name in sorted(set(_needed(found)) - made):
        asked = ("get", kind.lower(), name, "-n", space, "-o", "name", "--ignore-not-found")
        if not kubectl(*asked).strip():
            raise SystemExit(
                f"{kind} {space}/{name} is not in the cluster: make it first "
                "(knative/DEPLOY.md, Production). Nothing has been changed."
            )


def _needed(found: Sequence[Manifest]) -> Iterator[tuple[str, str, str]]:
    """Kind, namespace and name of each Secret and ConfigMap that a pod cannot start without."""
    for manifest in found:
        pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
        for kind, ref in _refs(pod):
            name = ref.get("name") or ref.get("secretName", "")
            if not ref.get("optional") and name != _MADE_BY_KUBERNETES:
                yield kind, namespace_of(manifest), name


def _refs(pod: Manifest) -> Iterator[tuple[str, Manifest]]:
    containers = [*pod.get("initContainers", ()), *pod.get("containers", ())]
    holders = [v.get("valueFrom", {}) for one in containers for v in one.get("env", ())]
    holders += [held for one in containers for held in one.get("envFrom", ())]
    for volume in pod.get("volumes", ()):
        holders += [volume, *volume.get("projected", {}).get("sources", ())]
    for holder in holders:
        for key, kind in _KINDS.items():
            if key in holder:
                yield kind, holder[key]


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
