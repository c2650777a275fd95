"""KN907: fields of a pod that a Knative Service allows only by a feature flag."""

from __future__ import annotations

from collections.abc import Iterator

from knative.lint.finding import Violation, rule
from knative.lint.manifest import Manifest, Path
from knative.lint.tree import Tree
from knative.local.manifests.fields import POD

# Field to feature flag of ConfigMap config-features; all are disabled in a stock installation.
_POD_FEATURES = {
    "affinity": "kubernetes.podspec-affinity",
    "dnsConfig": "kubernetes.podspec-dnsconfig",
    "dnsPolicy": "kubernetes.podspec-dnspolicy",
    "hostAliases": "kubernetes.podspec-hostaliases",
    "hostIPC": "kubernetes.podspec-hostipc",
    "hostNetwork": "kubernetes.podspec-hostnetwork",
    "hostPID": "kubernetes.podspec-hostpid",
    "initContainers": "kubernetes.podspec-init-containers",
    "nodeSelector": "kubernetes.podspec-nodeselector",
    "priorityClassName": "kubernetes.podspec-priorityclassname",
    "runtimeClassName": "kubernetes.podspec-runtimeclassname",
    "schedulerName": "kubernetes.podspec-schedulername",
    "securityContext": "kubernetes.podspec-securitycontext",
    "shareProcessNamespace": "kubernetes.podspec-shareprocessnamespace",
    "tolerations": "kubernetes.podspec-tolerations",
    "topologySpreadConstraints": "kubernetes.podspec-topologyspreadconstraints",
}
_VOLUME_FEATURES = {
    "csi": "kubernetes.podspec-volumes-csi",
    "hostPath": "kubernetes.podspec-volumes-hostpath",
    "image": "kubernetes.podspec-volumes-image",
    "persistentVolumeClaim": "kubernetes.podspec-persistent-volume-claim",
}
_ENV_FEATURES = dict.fromkeys(("fieldRef", "resourceFieldRef"), "kubernetes.podspec-fieldref")
# Pointers: an empty mapping is set, and rejected too.
_POINTERS = {"affinity", "dnsConfig"}


@rule(
    "KN907", "error", "field that needs a feature",
    why="Its feature is disabled in a stock installation, where the webhook rejects the field.",
    fix="Leave it out (a securityContext goes into the container), or turn the feature on in "
    "ConfigMap config-features of knative-serving; lint it too, or ignore this rule.",
)  # fmt: skip
def feature_disabled(tree: Tree) -> Iterator[Violation]:
    for service in tree.services:
        for path, feature in _gated(service):
            if tree.installation.has_feature(feature):
                continue
            value = service.get(*path)
            if value not in (None, {}, [], "", False) or (value == {} and path[-1] in _POINTERS):
                yield Violation(service, path, f"{path[-1]} needs the feature {feature}")


def _gated(service: Manifest) -> Iterator[tuple[Path, str]]:
    yield from (((*POD, name), feature) for name, feature in _POD_FEATURES.items())
    for volume in service.each(*POD, "volumes"):
        yield from (((*volume, name), feature) for name, feature in _VOLUME_FEATURES.items())
    for container in service.each(*POD, "containers"):
        for variable in service.each(*container, "env"):
            for name, feature in _ENV_FEATURES.items():
                yield (*variable, "valueFrom", name), feature
        added: Path = (*container, "securityContext", "capabilities", "add")
        yield added, "kubernetes.containerspec-addcapabilities"
