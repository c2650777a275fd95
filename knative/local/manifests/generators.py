"""ConfigMaps and Secrets that kustomize generates from files and literals."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

FIELDS = {"name", "namespace", "files", "literals", "envs", "behavior", "options", "type"}
OPTION_FIELDS = {"disableNameSuffixHash", "labels", "annotations", "immutable"}


class GeneratorError(Exception):
    """The generator cannot be run; the text says which field and why."""


def generate(
    kind: str, entry: dict[str, Any], options: dict[str, Any], home: Path
) -> dict[str, Any]:
    """The ConfigMap or Secret that `entry` of a kustomization in `home` describes."""
    for name in sorted(entry.keys() - FIELDS | (options.keys() - OPTION_FIELDS)):
        raise GeneratorError(f"the field {name!r} is not supported")
    if not isinstance(entry.get("name"), str):
        raise GeneratorError("name is missing")
    data: dict[str, bytes] = {}
    for source in entry.get("files", []):
        key, _, path = source.rpartition("=")
        try:
            data[key or Path(path).name] = (home / path).read_bytes()
        except OSError as error:
            raise GeneratorError(f"files: {path}: {error.strerror}") from None
    for literal in entry.get("literals", []):
        key, equals, value = str(literal).partition("=")
        if not equals:
            raise GeneratorError(f"literals: {literal!r} is not KEY=VALUE")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        data[key] = value.encode()
    for path in entry.get("envs", []):
        data.update(_env_file(home / path))

    metadata: dict[str, Any] = {"name": entry["name"]}
    for field in ("labels", "annotations"):
        if options.get(field):
            metadata[field] = dict(options[field])
    if "namespace" in entry:
        metadata["namespace"] = entry["namespace"]
    body: dict[str, Any] = {"apiVersion": "v1", "kind": kind, "metadata": metadata}
    if options.get("immutable"):
        body["immutable"] = True
    if kind == "Secret":
        body["type"] = entry.get("type", "Opaque")
        body["data"] = {key: base64.b64encode(value).decode() for key, value in data.items()}
        return body
    for key, content in data.items():
        try:
            body.setdefault("data", {})[key] = content.decode()
        except UnicodeDecodeError:
            body.setdefault("binaryData", {})[key] = base64.b64encode(content).decode()
    return body


def _env_file(path: Path) -> dict[str, bytes]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise GeneratorError(f"envs: {path.name}: {error.strerror}") from None
    pairs = {}
    for line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            key, equals, value = line.partition("=")
            if not equals:
                raise GeneratorError(f"envs: {path.name}: {line!r} is not KEY=VALUE")
            pairs[key.strip()] = value.encode()
    return pairs


def name_suffix(body: dict[str, Any]) -> str:
    """The content hash that kustomize appends to a generated name."""
    content: dict[str, Any] = {"kind": body["kind"], "name": body["metadata"]["name"]}
    content["data"] = body.get("data") or ""
    if body["kind"] == "Secret":
        content["type"] = body["type"]
    if body.get("binaryData"):
        content["binaryData"] = body["binaryData"]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for char in "<>&\u2028\u2029":  # as Go's encoder writes them
        text = text.replace(char, f"\\u{ord(char):04x}")
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return digest.translate(str.maketrans("013ae", "ghkmt"))
