"""KN907 and KN908: what a pod may say and a Knative Service may not, or only by a feature."""

from __future__ import annotations

from collections.abc import Iterator

from knative.lint.finding import Found, rule
from knative.lint.thing import POD, Path, Thing
from knative.lint.tree import Tree

_POD = {
    "containers", "volumes", "serviceAccountName", "automountServiceAccountToken",
    "enableServiceLinks", "imagePullSecrets", "containerConcurrency", "timeoutSeconds",
    "responseStartTimeoutSeconds", "idleTimeoutSeconds",
}  # fmt: skip
_CONTAINER = {
    "name", "image", "imagePullPolicy", "command", "args", "workingDir", "env", "envFrom", "ports",
    "resources", "readinessProbe", "livenessProbe", "startupProbe", "securityContext",
    "terminationMessagePath", "terminationMessagePolicy", "volumeMounts",
}  # fmt: skip
_VOLUME = {"name", "secret", "configMap", "projected", "emptyDir"}
# Field to feature of ConfigMap config-features, each of which is off in a stock installation.
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
_HARMLESS = {"NET_BIND_SERVICE"}


@rule(
    "KN907", "error", "field that needs a feature",
    why="Its feature is off in a stock installation, where the webhook refuses the field.",
    fix="Leave it out (a securityContext goes into the container), or turn the feature on in "
    "ConfigMap config-features of knative-serving, and ignore this rule.",
)  # fmt: skip
def gated(tree: Tree) -> Iterator[Found]:
    for service in tree.services:
        for path, feature in _gated(service):
            if service.get(*path) not in (None, {}, [], "", False):
                yield Found(service, path, f"{path[-1]} needs the feature {feature}")


@rule(
    "KN908", "error", "field that a Knative Service does not have",
    why="Serving takes some of a pod's fields; the webhook refuses all others.",
    fix="Leave it out; a spelling mistake, perhaps.",
)  # fmt: skip
def unknown(tree: Tree) -> Iterator[Found]:
    for service in tree.services:
        parts = [(POD, _POD | _POD_FEATURES.keys())]
        parts += [(path, _CONTAINER) for path in service.each(*POD, "containers")]
        volume = _VOLUME | _VOLUME_FEATURES.keys()
        parts += [(path, volume) for path in service.each(*POD, "volumes")]
        for path, known in parts:
            for name in service.mapping(*path):
                if name not in known:
                    yield Found(service, (*path, name), f"there is no {name} here")


def _gated(service: Thing) -> Iterator[tuple[Path, str]]:
    yield from (((*POD, name), feature) for name, feature in _POD_FEATURES.items())
    for volume in service.each(*POD, "volumes"):
        yield from (((*volume, name), feature) for name, feature in _VOLUME_FEATURES.items())
    for container in service.each(*POD, "containers"):
        for variable in service.each(*container, "env"):
            for name, feature in _ENV_FEATURES.items():
                yield (*variable, "valueFrom", name), feature
        added: Path = (*container, "securityContext", "capabilities", "add")
        if not _HARMLESS.issuperset(map(str, service.items(*added))):
            yield added, "kubernetes.containerspec-addcapabilities"
