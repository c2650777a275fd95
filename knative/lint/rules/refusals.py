"""KN9xx: what Knative's admission webhooks refuse, known before anything is applied."""

from __future__ import annotations

from collections.abc import Iterator

from knative.lint.delivery import DELIVERY
from knative.lint.finding import Found, rule
from knative.lint.thing import POD, Thing
from knative.lint.tree import Tree
from knative.local.manifests.meta import seconds

_SCALING = "autoscaling.knative.dev/"
_RESERVED_ENV = {"PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"}
_RESERVED_PORTS = {8008, 8012, 8013, 8022, 9090, 9091}
_MOST = {"timeoutSeconds": 600, "containerConcurrency": 1000}
_TEMPLATE_ANNOTATIONS = ("spec", "template", "metadata", "annotations")


@rule(
    "KN901", "error", "autoscaling annotation on the Service",
    why="The webhook refuses autoscaling annotations on the Service's own metadata.",
    fix="Move them to spec.template.metadata.annotations.",
)  # fmt: skip
def scaling_on_service(tree: Tree) -> Iterator[Found]:
    for service in tree.services:
        for name in service.mapping("metadata", "annotations"):
            if str(name).startswith(_SCALING):
                yield Found(service, ("metadata", "annotations", name), f"{name} belongs below")


@rule(
    "KN902", "error", "scale that contradicts itself",
    why="The webhook refuses a min-scale above max-scale, and a scale that is no whole number.",
    fix="Write 0 <= min-scale <= max-scale as quoted numbers (max-scale 0 means no limit).",
)  # fmt: skip
def scales(tree: Tree) -> Iterator[Found]:
    for service in tree.services:
        scale: dict[str, int] = {}
        for name, value in service.mapping(*_TEMPLATE_ANNOTATIONS).items():
            key = str(name).removeprefix(_SCALING).replace("Scale", "-scale")
            if key not in ("min-scale", "max-scale") or not str(name).startswith(_SCALING):
                continue
            if isinstance(value, str) and value.isdecimal():
                scale[key] = int(value)
            else:
                words = f"{value!r} is no quoted whole number"
                yield Found(service, (*_TEMPLATE_ANNOTATIONS, name), words)
        least, most = scale.get("min-scale", 0), scale.get("max-scale", 0)
        if most and least > most:
            yield Found(service, _TEMPLATE_ANNOTATIONS, f"min-scale {least} > max-scale {most}")


@rule(
    "KN903", "error", "environment variable that Knative sets itself",
    why="PORT and K_SERVICE, K_CONFIGURATION, K_REVISION are reserved; the webhook refuses them.",
    fix="Leave it out; for another port write ports[0].containerPort.",
)  # fmt: skip
def reserved_env(tree: Tree) -> Iterator[Found]:
    for service in tree.services:
        containers = list(service.each(*POD, "containers"))
        for container in containers:
            sidecar = len(containers) > 1 and not service.items(*container, "ports")
            for variable in service.each(*container, "env"):
                name = service.text(*variable, "name")
                if name in _RESERVED_ENV and not (sidecar and name == "PORT"):
                    yield Found(service, variable, f"{name} is reserved")


@rule(
    "KN904", "error", "ports that Knative refuses",
    why="A Service has exactly one port, and the queue-proxy's own ports are taken.",
    fix="One containerPort, 8080 for example.",
)  # fmt: skip
def ports(tree: Tree) -> Iterator[Found]:
    for service in tree.services:
        containers = service.each(*POD, "containers")
        found = [port for container in containers for port in service.each(*container, "ports")]
        for here in found[1:]:
            yield Found(service, here, "a Service has one port")
        for here in found:
            port = service.number(*here, "containerPort")
            if port in _RESERVED_PORTS:
                yield Found(service, here, f"port {port} is the queue-proxy's")


@rule(
    "KN905", "error", "limit beyond what Serving allows",
    why="In a stock installation timeoutSeconds is at most 600 and containerConcurrency 1000.",
    fix="Lower it, or raise the limit in config-defaults first and ignore this rule.",
)  # fmt: skip
def limits(tree: Tree) -> Iterator[Found]:
    for service in tree.services:
        for name, most in _MOST.items():
            value = service.number(*POD, name)
            if value is not None and not 0 <= value <= most:
                yield Found(service, (*POD, name), f"{value} is not within 0 to {most}")


@rule(
    "KN906", "error", "delivery field that is refused",
    why="Durations are ISO 8601 (PT0.2S, P1D), a timeout is above zero, a policy is linear or "
    "exponential, retry is a whole number; retryAfterMax needs the feature delivery-retryafter.",
    fix="Correct the field.",
)  # fmt: skip
def delivery_fields(tree: Tree) -> Iterator[Found]:
    for thing in tree.things:
        if not thing.is_knatives:
            continue
        delivery = thing.mapping(*DELIVERY)
        for name in ("backoffDelay", "timeout"):
            if name in delivery:
                yield from _duration(thing, name)
        policy, retry = delivery.get("backoffPolicy"), delivery.get("retry")
        if policy not in (None, "linear", "exponential"):
            words = f"{policy!r} is neither linear nor exponential"
            yield Found(thing, (*DELIVERY, "backoffPolicy"), words)
        if retry is not None and (
            not isinstance(retry, int) or isinstance(retry, bool) or retry < 0
        ):
            yield Found(thing, (*DELIVERY, "retry"), f"{retry!r} is no whole number from 0")
        if "retryAfterMax" in delivery:
            words = "needs the feature delivery-retryafter, which is off in a stock installation"
            yield Found(thing, (*DELIVERY, "retryAfterMax"), words)


def _duration(thing: Thing, name: str) -> Iterator[Found]:
    value = thing.get(*DELIVERY, name)
    try:
        length_s = seconds(str(value))
    except ValueError as error:
        yield Found(thing, (*DELIVERY, name), str(error))
        return
    if name == "timeout" and length_s <= 0:
        yield Found(thing, (*DELIVERY, name), f"{value} is not above zero")
