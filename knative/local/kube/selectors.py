"""Label and field selectors, as the query parameters of a list or watch write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from knative.local.kube.resources import JOB, POD, Resource
from knative.local.kube.status import bad_request

Match = Callable[[Mapping[str, Any]], bool]

_KEY = r"[A-Za-z0-9]([A-Za-z0-9_./-]*[A-Za-z0-9])?"
_SET = re.compile(rf"^(?P<key>{_KEY})\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUALITY = re.compile(rf"^(?P<key>{_KEY})\s*(?P<op>==|!=|=)\s*(?P<value>[A-Za-z0-9_.-]*)$")
_EXISTS = re.compile(rf"^(?P<absent>!?)\s*(?P<key>{_KEY})$")
_COMMA = re.compile(r",(?![^(]*\))")

_FIELDS: Mapping[str, tuple[str, ...]] = {
    POD.kind: ("status.phase", "spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName"),
    JOB.kind: ("status.successful",),
}


def label_matcher(selector: str) -> Callable[[Mapping[str, str]], bool]:
    """Read `a=b,c!=d,e in (f,g),h,!i`; ApiError 400 names what cannot be read.

    >>> label_matcher("app=dsm,tier in (a, b),!gone")({"app": "dsm", "tier": "b"})
    True
    >>> label_matcher("app!=dsm")({})
    True
    """
    tests = [_requirement(part.strip()) for part in _COMMA.split(selector) if part.strip()]
    return lambda labels: all(test(labels) for test in tests)


def _requirement(text: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET.match(text):
        key, values = found["key"], {value.strip() for value in found["values"].split(",")}
        if found["op"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUALITY.match(text):
        key, value = found["key"], found["value"]
        if found["op"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS.match(text):
        key, absent = found["key"], bool(found["absent"])
        return lambda labels: (key in labels) is not absent
    raise bad_request(f"unable to parse requirement: {text!r} is no label selector")


def expression_matcher(selector: Mapping[str, Any]) -> Callable[[Mapping[str, str]], bool]:
    """Read a `metav1.LabelSelector` (matchLabels and matchExpressions).

    >>> expression_matcher({"matchLabels": {"app": "dsm"}})({"app": "dsm"})
    True
    """
    exact = dict(selector.get("matchLabels") or {})
    rules = list(selector.get("matchExpressions") or ())

    def rule_holds(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
        key, operator, values = rule["key"], rule["operator"], rule.get("values") or ()
        if operator == "In":
            return labels.get(key) in values
        if operator == "NotIn":
            return labels.get(key) not in values
        return (key in labels) is (operator == "Exists")

    return lambda labels: (
        all(labels.get(k) == v for k, v in exact.items())
        and all(rule_holds(rule, labels) for rule in rules)
    )


def field_matcher(resource: Resource, selector: str) -> Match:
    """Read `metadata.name=a,status.phase!=Running`; fields are those that Kubernetes knows."""
    known = ("metadata.name", "metadata.namespace", *_FIELDS.get(resource.kind, ()))
    tests: list[Match] = []
    for part in filter(None, (piece.strip() for piece in selector.split(","))):
        found = re.match(r"^([\w.]+)(==|!=|=)(.*)$", part)
        if found is None:
            raise bad_request(f"invalid field selector: {part!r}")
        path, operator, value = found.groups()
        if path not in known:
            raise bad_request(
                f'field label "{path}" not supported for {resource.kind}; '
                f"supported: {', '.join(known)}"
            )
        tests.append(_field_test(path, value, wanted=operator != "!="))
    return lambda body: all(test(body) for test in tests)


def _field_test(path: str, value: str, *, wanted: bool) -> Match:
    def test(body: Mapping[str, Any]) -> bool:
        here: Any = body
        # The API calls a Job's count `succeeded`; its field selector says `successful`.
        for step in path.replace("status.successful", "status.succeeded").split("."):
            here = here.get(step) if isinstance(here, Mapping) else None
        if path == "status.successful":
            here = here or 0
        return (str("" if here is None else here) == value) is wanted

    return test


def matcher(resource: Resource, labels: str, fields: str) -> Match:
    """Both selectors of a request in one."""
    by_label = label_matcher(labels)
    by_field = field_matcher(resource, fields)
    return lambda body: by_label(body["metadata"].get("labels") or {}) and by_field(body)
