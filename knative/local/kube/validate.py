"""What the API server refuses before it stores an object: names, labels and each kind's spec.

Messages follow k8s.io/apimachinery's validation, so that a user who has seen the real ones
recognises them. Unknown fields are kept, where a real server drops them with a warning.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from knative.local.kube.job_spec import job_causes, job_update_causes
from knative.local.kube.resources import (
    API_SERVER_SOURCE,
    CONFIG_MAP,
    JOB,
    PING_SOURCE,
    SECRET,
    Resource,
)
from knative.local.kube.source_spec import check_source
from knative.local.kube.status import Cause, invalid

Object = Mapping[str, Any]
Causes = Iterator[Cause]

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_MEBIBYTE = 1 << 20

SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    f"for validation is '{_SUBDOMAIN.pattern}')"
)
LABEL_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character"
)


def validate(resource: Resource, body: Object, previous: Object | None = None) -> None:
    """Refuse what Kubernetes refuses: ApiError 422 with every field that is wrong."""
    name = body["metadata"]["name"]
    causes = [*_metadata(resource, body["metadata"])]
    if resource in _SPECS:
        causes += _SPECS[resource](body)
    if previous is not None:
        causes += _update(resource, body, previous)
    if causes:
        raise invalid(resource, name, causes)
    if resource in (PING_SOURCE, API_SERVER_SOURCE):
        check_source(body)


def _metadata(resource: Resource, metadata: Object) -> Causes:
    name = metadata["name"]
    # A Job's name becomes the value of a label on its pods, and labels end at 63 characters.
    longest = 63 if resource == JOB else 253
    if len(name) > longest:
        yield _invalid("metadata.name", name, f"must be no more than {longest} characters")
    if not _SUBDOMAIN.fullmatch(name):
        yield _invalid("metadata.name", name, SUBDOMAIN_RULE)
    yield from labels_causes("metadata.labels", metadata.get("labels"))
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        if not _is_label_key(key):
            yield _invalid("metadata.annotations", key, "name part " + LABEL_RULE)
    if sum(len(key) + len(str(value)) for key, value in annotations.items()) > 256 * 1024:
        yield Cause("metadata.annotations", "Too long: may not be more than 262144 bytes")
    for number, owner in enumerate(metadata.get("ownerReferences") or ()):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                at = f"metadata.ownerReferences[{number}].{field}"
                yield Cause(at, 'Invalid value: "": must not be empty')


def labels_causes(field: str, labels: Mapping[str, str] | None) -> Causes:
    """What is wrong with a map of labels."""
    for key, value in (labels or {}).items():
        if not _is_label_key(key):
            yield _invalid(field, key, "name part " + LABEL_RULE)
        if len(value) > 63:
            yield _invalid(field, value, "must be no more than 63 characters")
        elif value and not _QUALIFIED.fullmatch(value):
            yield _invalid(field, value, LABEL_RULE)


def _is_label_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and not (len(prefix) <= 253 and _SUBDOMAIN.fullmatch(prefix)):
        return False
    return len(name) <= 63 and bool(_QUALIFIED.fullmatch(name))


def _config_map(body: Object) -> Causes:
    for key in body.get("data") or {}:
        yield from _data_key("data", key)
    for key, value in (body.get("binaryData") or {}).items():
        yield from _data_key("binaryData", key)
        yield from _base64("binaryData", key, value)
    yield from _size(body.get("data"), body.get("binaryData"))


def _secret(body: Object) -> Causes:
    for key, value in (body.get("data") or {}).items():
        yield from _data_key("data", key)
        yield from _base64("data", key, value)
    yield from _size({}, body.get("data"))


def _data_key(field: str, key: str) -> Causes:
    if not _DATA_KEY.fullmatch(key) or len(key) > 253:
        rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        yield _invalid(f"{field}[{key}]", key, rule)


def _base64(field: str, key: str, value: object) -> Causes:
    try:
        base64.b64decode(str(value), validate=True)
    except ValueError:
        yield _invalid(f"{field}[{key}]", "...", "must be base64")


def _size(texts: Object | None, encoded: Object | None) -> Causes:
    """Bytes count: those of UTF-8, and of base64 those that it stands for."""
    size = sum(len(str(value).encode()) for value in (texts or {}).values())
    size += sum(decoded_size(str(value)) for value in (encoded or {}).values())
    if size > _MEBIBYTE:
        yield Cause("", f"Too long: may not be more than {_MEBIBYTE} bytes", "FieldValueTooLong")


def decoded_size(text: str) -> int:
    """How many bytes base64 stands for.

    >>> decoded_size("aGVsbG8=")
    5
    """
    return len(text) * 3 // 4 - text[-2:].count("=")


def _update(resource: Resource, body: Object, previous: Object) -> Causes:
    for field in ("name", "namespace", "uid", "creationTimestamp"):
        before, after = previous["metadata"].get(field), body["metadata"].get(field)
        if before != after:
            yield _invalid(f"metadata.{field}", after, "field is immutable")
    if resource == JOB:
        yield from job_update_causes(body, previous)
    if resource in (CONFIG_MAP, SECRET) and previous.get("immutable"):
        for field in ("data", "binaryData", "immutable"):
            if body.get(field) != previous.get(field):
                message = "Forbidden: field is immutable when `immutable` is set"
                yield Cause(field, message, "FieldValueForbidden")
    if resource == SECRET and body.get("type") != previous.get("type"):
        yield _invalid("type", body.get("type"), "field is immutable")


def _invalid(field: str, value: object, rule: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else repr(value)
    return Cause(field, f"Invalid value: {shown}: {rule}")


_SPECS: Mapping[Resource, Callable[[Object], Causes]] = {
    JOB: job_causes,
    CONFIG_MAP: _config_map,
    SECRET: _secret,
}
