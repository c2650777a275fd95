"""What a Job's spec may say here, what it gets by default, and what may change later.

Not supported, and refused by name: more than one completion or pod at a time, indexed completion,
pod failure and success policies, and a selector of one's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from knative.local.kube.status import Cause

Object = Mapping[str, Any]
Causes = Iterator[Cause]

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_ENV_NAME = re.compile(r"[ -<>-~]+")
_COUNTS = (
    "parallelism",
    "completions",
    "backoffLimit",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
)
_UNSUPPORTED = ("podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "maxFailedIndexes")
_IMMUTABLE = ("template", "selector", "completions", "completionMode", "manualSelector")


def with_defaults(body: Object, uid: str) -> dict[str, Any]:
    """The Job as the API server completes it: defaults, selector, and the labels of its pods."""
    name = body["metadata"]["name"]
    spec = dict(body.get("spec") or {})
    template = dict(spec.get("template") or {})
    pod = dict(template.get("spec") or {})
    pod = {
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        **pod,
        "restartPolicy": pod.get("restartPolicy") or "Always",
        "containers": [_container(one) for one in pod.get("containers") or ()],
    }
    if pod.get("initContainers"):
        pod["initContainers"] = [_container(one) for one in pod["initContainers"]]
    tracked = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    metadata = dict(template.get("metadata") or {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **tracked}
    defaults = {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "suspend": False,
        "manualSelector": False,
        "podReplacementPolicy": "TerminatingOrFailed",
    }
    selector = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    spec = {**defaults, **{k: v for k, v in spec.items() if v is not None}}
    spec.setdefault("selector", selector)
    spec["template"] = {**template, "metadata": metadata, "spec": pod}
    labels = body["metadata"].get("labels") or metadata["labels"]
    return {**body, "metadata": {**body["metadata"], "labels": labels}, "spec": spec}


def _container(container: Object) -> dict[str, Any]:
    image = str(container.get("image") or "")
    latest = ":" not in image.rpartition("/")[2] or image.endswith(":latest")
    return {
        "imagePullPolicy": "Always" if latest and "@" not in image else "IfNotPresent",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        **container,
    }


def admitted(job: dict[str, Any]) -> dict[str, Any]:
    """A new Job as it is after Kueue: its queues have room for everything here."""
    if "kueue.x-k8s.io/queue-name" not in (job["metadata"].get("labels") or {}):
        return job
    return {**job, "spec": {**job["spec"], "suspend": False}}


def job_causes(body: Object) -> Causes:
    """Everything that is wrong with a Job's spec (after its defaults)."""
    spec = body["spec"]
    for field in _COUNTS:
        value = spec.get(field)
        if value is None:
            continue
        if value < (1 if field == "activeDeadlineSeconds" else 0):
            minimum = (
                "greater than 0"
                if field == "activeDeadlineSeconds"
                else ("greater than or equal to 0")
            )
            yield _invalid(f"spec.{field}", value, f"must be {minimum}")
    for field in ("parallelism", "completions"):
        if spec[field] > 1:
            rule = "the local Kubernetes API runs one pod per Job; only 1 is supported"
            yield _invalid(f"spec.{field}", spec[field], rule)
    for field in _UNSUPPORTED:
        if spec.get(field) is not None:
            yield Cause(f"spec.{field}", "Forbidden: not supported by the local Kubernetes API")
    if spec["completionMode"] != "NonIndexed":
        yield _unsupported("spec.completionMode", spec["completionMode"], ["NonIndexed"])
    if spec["manualSelector"]:
        yield _invalid("spec.manualSelector", True, "only generated selectors are supported")
    yield from _pod_causes("spec.template.spec", spec["template"]["spec"])


def _pod_causes(at: str, pod: Object) -> Causes:
    if pod["restartPolicy"] not in ("Never", "OnFailure"):
        yield _unsupported(f"{at}.restartPolicy", pod["restartPolicy"], ["OnFailure", "Never"])
    if not pod["containers"]:
        yield Cause(f"{at}.containers", "Required value", "FieldValueRequired")
    if pod.get("activeDeadlineSeconds") is not None:
        message = "Forbidden: set it on the Job; the local Kubernetes API keeps no other deadline"
        yield Cause(f"{at}.activeDeadlineSeconds", message)
    volumes = {volume.get("name") for volume in pod.get("volumes") or ()}
    names: set[str] = set()
    for field in ("initContainers", "containers"):
        for number, container in enumerate(pod.get(field) or ()):
            yield from _container_causes(f"{at}.{field}[{number}]", container, volumes)
            policy, here = container.get("restartPolicy"), f"{at}.{field}[{number}].restartPolicy"
            if policy and field == "containers":
                yield Cause(here, "Forbidden: may not be set for non-init containers")
            elif policy and policy != "Always":
                yield _unsupported(here, policy, ["Always"])
            name = container.get("name")
            if name in names:
                message = f'Duplicate value: "{name}"'
                yield Cause(f"{at}.{field}[{number}].name", message, "FieldValueDuplicate")
            names.add(name)


def _container_causes(at: str, container: Object, volumes: set[Any]) -> Causes:
    name = container.get("name")
    if not name:
        yield Cause(f"{at}.name", "Required value", "FieldValueRequired")
    elif len(name) > 63 or not _DNS_LABEL.fullmatch(name):
        yield _invalid(f"{at}.name", name, "a lowercase RFC 1123 label has at most 63 of a-z 0-9 -")
    if not container.get("image"):
        yield Cause(f"{at}.image", "Required value", "FieldValueRequired")
    for number, variable in enumerate(container.get("env") or ()):
        here = f"{at}.env[{number}]"
        if not variable.get("name"):
            yield Cause(f"{here}.name", "Required value", "FieldValueRequired")
        elif not _ENV_NAME.fullmatch(variable["name"]):
            yield _invalid(f"{here}.name", variable["name"], "printable ASCII without '='")
        if variable.get("value") and variable.get("valueFrom"):
            yield _invalid(
                f"{here}.valueFrom", "", "may not be specified when `value` is not empty"
            )
    for number, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") not in volumes:
            message = f'Not found: "{mount.get("name")}"'
            yield Cause(f"{at}.volumeMounts[{number}].name", message, "FieldValueNotFound")
        if not mount.get("mountPath"):
            message = "Required value"
            yield Cause(f"{at}.volumeMounts[{number}].mountPath", message, "FieldValueRequired")


def job_update_causes(body: Object, previous: Object) -> Causes:
    """Fields of a Job that never change."""
    for field in _IMMUTABLE:
        if body["spec"].get(field) != previous["spec"].get(field):
            yield Cause(f"spec.{field}", "Invalid value: field is immutable")


def _invalid(field: str, value: object, rule: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else repr(value)
    return Cause(field, f"Invalid value: {shown}: {rule}")


def _unsupported(field: str, value: object, supported: list[str]) -> Cause:
    values = ", ".join(f'"{one}"' for one in supported)
    message = f'Unsupported value: "{value}": supported values: {values}'
    return Cause(field, message, "FieldValueNotSupported")
