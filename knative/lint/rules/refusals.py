"""KN9xx: what does an admission webhook of Knative reject?"""

from __future__ import annotations

from collections.abc import Iterator

from knative.lint.delivery import DELIVERY
from knative.lint.finding import Violation, rule
from knative.lint.installation import EVENTING_HOME
from knative.lint.manifest import Manifest
from knative.lint.tree import Tree
from knative.local.manifests.fields import POD
from knative.local.manifests.meta import seconds

_SCALING = "autoscaling.knative.dev/"
_RESERVED_ENV = {"PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"}
_RESERVED_PORTS = {8008, 8012, 8013, 8022, 9090, 9091}
# Field to the limit in ConfigMap config-defaults, and the limit in a stock installation.
_MAXIMA = {
    "timeoutSeconds": ("max-revision-timeout-seconds", 600),
    "containerConcurrency": ("container-concurrency-max-limit", 1000),
}
_TEMPLATE_ANNOTATIONS = ("spec", "template", "metadata", "annotations")


@rule(
    "KN901", "error", "autoscaling annotation on the Service",
    why="The webhook rejects autoscaling annotations on the Service's own metadata.",
    fix="Move them to spec.template.metadata.annotations.",
)  # fmt: skip
def scaling_on_service(tree: Tree) -> Iterator[Violation]:
    for service in tree.services:
        for name in service.mapping("metadata", "annotations"):
            if str(name).startswith(_SCALING):
                yield Violation(service, ("metadata", "annotations", name), f"{name} belongs below")


@rule(
    "KN902", "error", "scale that contradicts itself",
    why="The webhook rejects a min-scale above max-scale, and a scale that is no whole number.",
    fix="Write 0 <= min-scale <= max-scale as quoted numbers (max-scale 0 means no limit).",
)  # fmt: skip
def scales(tree: Tree) -> Iterator[Violation]:
    for service in tree.services:
        scale: dict[str, int] = {}
        for name, value in service.mapping(*_TEMPLATE_ANNOTATIONS).items():
            key = str(name).removeprefix(_SCALING).replace("Scale", "-scale")
            if key not in ("min-scale", "max-scale") or not str(name).startswith(_SCALING):
                continue
            if isinstance(value, str) and value.isdecimal():
                scale[key] = int(value)
            else:
                message = f"{value!r} is no quoted whole number"
                yield Violation(service, (*_TEMPLATE_ANNOTATIONS, name), message)
        low, high = scale.get("min-scale", 0), scale.get("max-scale", 0)
        if high and low > high:
            yield Violation(service, _TEMPLATE_ANNOTATIONS, f"min-scale {low} > max-scale {high}")


@rule(
    "KN903", "error", "environment variable that Knative sets itself",
    why="PORT and K_SERVICE, K_CONFIGURATION, K_REVISION are reserved; the webhook rejects them.",
    fix="Leave it out; for another port write ports[0].containerPort.",
)  # fmt: skip
def reserved_env(tree: Tree) -> Iterator[Violation]:
    for service in tree.services:
        containers = list(service.each(*POD, "containers"))
        for container in containers:
            sidecar = len(containers) > 1 and not service.items(*container, "ports")
            for variable in service.each(*container, "env"):
                name = service.text(*variable, "name")
                if name in _RESERVED_ENV and not (sidecar and name == "PORT"):
                    yield Violation(service, variable, f"{name} is reserved")


@rule(
    "KN904", "error", "ports that Knative rejects",
    why="A Service has exactly one port, and the queue-proxy's own ports are reserved.",
    fix="One containerPort, 8080 for example.",
)  # fmt: skip
def ports(tree: Tree) -> Iterator[Violation]:
    for service in tree.services:
        containers = service.each(*POD, "containers")
        found = [port for container in containers for port in service.each(*container, "ports")]
        for here in found[1:]:
            yield Violation(service, here, "a Service has one port")
        for here in found:
            port = service.number(*here, "containerPort")
            if port in _RESERVED_PORTS:
                yield Violation(service, here, f"port {port} is the queue-proxy's")


@rule(
    "KN905", "error", "limit beyond what Serving allows",
    why="In a stock installation timeoutSeconds is at most 600 and containerConcurrency 1000.",
    fix="Lower it, or raise the limit in ConfigMap config-defaults; lint it too, or ignore this "
    "rule.",
)  # fmt: skip
def limits(tree: Tree) -> Iterator[Violation]:
    for service in tree.services:
        for name, (limit, stock) in _MAXIMA.items():
            maximum = tree.installation.limit(limit, stock)
            value = service.number(*POD, name)
            if value is not None and not 0 <= value <= maximum:
                yield Violation(service, (*POD, name), f"{value} is not within 0 to {maximum}")


@rule(
    "KN906", "error", "delivery field that is rejected",
    why="Durations are ISO 8601 (PT0.2S, P1D), a timeout is above zero, a policy is linear or "
    "exponential, retry is a whole number; retryAfterMax needs the feature delivery-retryafter.",
    fix="Correct the field.",
)  # fmt: skip
def delivery_fields(tree: Tree) -> Iterator[Violation]:
    for manifest in tree.manifests:
        if not manifest.is_knative:
            continue
        delivery = manifest.mapping(*DELIVERY)
        for name in ("backoffDelay", "timeout"):
            if name in delivery:
                yield from _duration(manifest, name)
        policy, retry = delivery.get("backoffPolicy"), delivery.get("retry")
        if policy not in (None, "linear", "exponential"):
            message = f"{policy!r} is neither linear nor exponential"
            yield Violation(manifest, (*DELIVERY, "backoffPolicy"), message)
        if retry is not None and (
            not isinstance(retry, int) or isinstance(retry, bool) or retry < 0
        ):
            yield Violation(manifest, (*DELIVERY, "retry"), f"{retry!r} is no whole number from 0")
        allowed = tree.installation.has_feature("delivery-retryafter", EVENTING_HOME)
        if "retryAfterMax" in delivery and not allowed:
            message = "needs the feature delivery-retryafter, disabled in a stock installation"
            yield Violation(manifest, (*DELIVERY, "retryAfterMax"), message)


def _duration(manifest: Manifest, name: str) -> Iterator[Violation]:
    value = manifest.get(*DELIVERY, name)
    try:
        length_s = seconds(str(value))
    except ValueError as error:
        yield Violation(manifest, (*DELIVERY, name), str(error))
        return
    if name == "timeout" and length_s <= 0:
        yield Violation(manifest, (*DELIVERY, name), f"{value} is not above zero")
