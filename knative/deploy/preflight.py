"""Checks of the cluster and the overlay before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import yaml

from knative.deploy.kubectl import Kubectl, read_json
from knative.deploy.overlay import Manifest, group, namespace_of, of_kind

_ROOT_CA = "kube-root-ca.crt"  # in each namespace
# The fields of a pod that reference one: for a variable, for all variables, for a volume.
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


def warn_of_rejected_pods(kubectl: Kubectl, manifests: Sequence[Manifest]) -> None:
    """Print the cluster's other workloads whose new pods a `restricted` namespace rejects."""
    for manifest in of_kind(manifests, "Namespace"):
        labels, namespace = manifest["metadata"].get("labels", {}), manifest["metadata"]["name"]
        if labels.get(_ENFORCE) != "restricted":
            continue
        get = ("get", _WORKLOADS, "-n", namespace, "-o", "json")
        live = read_json(kubectl(*get, quiet=True)).get("items", ())
        own = {
            (m["kind"], m["metadata"]["name"]) for m in manifests if namespace_of(m) == namespace
        }
        rejected = [
            f"{m['kind']} {m['metadata']['name']}"
            for m in live
            if (m["kind"], m["metadata"]["name"]) not in own and not _is_restricted(_pod(m))
        ]
        if rejected:
            print(
                f"Namespace {namespace} is going to enforce Pod Security `restricted`: new pods of "
                f"{', '.join(sorted(rejected))} will be rejected (knative/MIGRATION.md).",
                flush=True,
            )


def warn_of_live_brokers(kubectl: Kubectl, manifests: Sequence[Manifest]) -> None:
    """Print the Brokers that get their first EventPolicies: stale subscribers would remain."""
    guarded = {namespace_of(policy) for policy in of_kind(manifests, "EventPolicy")}
    for broker in of_kind(manifests, "Broker"):
        namespace, name = namespace_of(broker), broker["metadata"]["name"]
        at = ("-n", namespace, "-o", "name", "--ignore-not-found")
        if (
            namespace in guarded
            and kubectl("get", "brokers.eventing.knative.dev", name, *at, quiet=True).strip()
            and not kubectl("get", "eventpolicies.eventing.knative.dev", *at, quiet=True).strip()
        ):
            print(
                f"Broker {namespace}/{name} was made without EventPolicies: each event would make "
                f"an extra, empty dead letter. While nothing is on its way, `kubectl delete broker "
                f"{name} -n {namespace}`, and deploy again (knative/DEPLOY.md).",
                flush=True,
            )


_FEATURES = {"authentication-oidc": ("enabled",), "transport-encryption": ("permissive", "strict")}


def check_identities(kubectl: Kubectl, manifests: Sequence[Manifest]) -> None:
    """Print that callers are unknown where the overlay has no EventPolicies; where it has, exit
    unless the cluster's features make them count."""
    if not list(of_kind(manifests, "EventPolicy")):
        if list(of_kind(manifests, "Broker")):
            print(
                "This overlay knows no callers: who reaches the Broker or a function, as agents' "
                "pods do, is taken at its word; overlays/authenticated asks for tokens "
                "(knative/DEPLOY.md).",
                flush=True,
            )
        return
    get = ("get", "configmap", "config-features", "-n", "knative-eventing", "-o", "json")
    features = read_json(kubectl(*get, quiet=True)).get("data") or {}
    missing = [
        f"{name}: {wanted[0]}"
        for name, wanted in _FEATURES.items()
        if features.get(name, "").lower() not in wanted
    ]
    if missing:
        raise SystemExit(
            f"The overlay asks callers for tokens, which this cluster does not give out: set "
            f"{' and '.join(missing)} in ConfigMap knative-eventing/config-features, or deploy "
            "an overlay without components/oidc (knative/DEPLOY.md). Nothing has been changed."
        )


def require_known_approvers(manifests: Sequence[Manifest]) -> None:
    """Exit where a route asks for approvals and nothing proves who gives them."""
    if list(of_kind(manifests, "EventPolicy")):
        return
    for config in of_kind(manifests, "ConfigMap"):
        name, text = config["metadata"]["name"], (config.get("data") or {}).get("routes.yaml", "")
        try:
            routes = (yaml.safe_load(text) or {}).get("routes") or ()
        except yaml.YAMLError as error:
            raise SystemExit(
                f"ConfigMap {name}: routes.yaml: {error}\nNothing has been changed."
            ) from None
        asking = [one["name"] for one in routes if one.get("job", {}).get("approval")]
        if asking:
            raise SystemExit(
                f"Route {', '.join(asking)} of ConfigMap {name} has `approval`, which an agent "
                "could give itself in an overlay that asks callers for no tokens: deploy "
                "overlays/authenticated, or remove it (knative/DEPLOY.md). "
                "Nothing has been changed."
            )


def _pod(workload: Manifest) -> Manifest:
    spec = workload.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    pod: Manifest = spec.get("template", {}).get("spec", {})
    return pod


def _is_restricted(pod: Manifest) -> bool:
    """Does each container comply with `restricted`?"""
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


def require_prerequisites(kubectl: Kubectl, manifests: Sequence[Manifest]) -> None:
    """Exit where the cluster lacks a kind, a Secret or a ConfigMap that the overlay needs."""
    rows = map(str.split, kubectl("api-resources", "--no-headers", quiet=True).splitlines())
    # It lists the preferred version of each kind only, so groups are compared.
    known = {(group(row[-3]), row[-1]) for row in rows if len(row) > 3}
    wanted = {(group(m["apiVersion"]), m["kind"]) for m in manifests}
    if known and (unknown := wanted - known):
        kinds = ", ".join(sorted(f"{kind} ({group or 'v1'})" for group, kind in unknown))
        raise SystemExit(
            f"The cluster does not know {kinds}: install their controllers first "
            "(knative/DEPLOY.md). Nothing has been changed."
        )
    own = {(m["kind"], namespace_of(m), m["metadata"]["name"]) for m in manifests}
    for kind, namespace, name in sorted(set(_required(manifests)) - own):
        get = ("get", kind.lower(), name, "-n", namespace, "-o", "name", "--ignore-not-found")
        if not kubectl(*get).strip():
            raise SystemExit(
                f"{kind} {namespace}/{name} is not in the cluster: create it first "
                "(knative/DEPLOY.md, Production). Nothing has been changed."
            )


def _required(manifests: Sequence[Manifest]) -> Iterator[tuple[str, str, str]]:
    """Return kind, namespace and name of each Secret and ConfigMap that a pod requires."""
    for manifest in manifests:
        pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
        for kind, ref in _refs(pod):
            name = ref.get("name") or ref.get("secretName", "")
            if not ref.get("optional") and name != _ROOT_CA:
                yield kind, namespace_of(manifest), name


def _refs(pod: Manifest) -> Iterator[tuple[str, Manifest]]:
    containers = [*pod.get("initContainers", ()), *pod.get("containers", ())]
    holders = [v.get("valueFrom", {}) for container in containers for v in container.get("env", ())]
    holders += [source for container in containers for source in container.get("envFrom", ())]
    for volume in pod.get("volumes", ()):
        holders += [volume, *volume.get("projected", {}).get("sources", ())]
    for holder in holders:
        for key, kind in _KINDS.items():
            if key in holder:
                yield kind, holder[key]


def require_same_broker_class(kubectl: Kubectl, manifests: Sequence[Manifest]) -> None:
    """Exit where a Broker of the cluster has another class, which is immutable."""
    key = "eventing.knative.dev/broker.class"
    path = "jsonpath={.metadata.annotations.eventing\\.knative\\.dev/broker\\.class}"
    for broker in of_kind(manifests, "Broker"):
        name, namespace = broker["metadata"]["name"], namespace_of(broker)
        ours = broker["metadata"].get("annotations", {}).get(key)
        live = kubectl(
            "get", "broker", name, "-n", namespace, "-o", path, "--ignore-not-found"
        ).strip()
        if ours and live and ours != live:
            raise SystemExit(
                f"The cluster's Broker {namespace}/{name} is {live}, the overlay's {ours}: is this "
                "the right overlay for this cluster? Nothing has been changed."
            )
