"""A pod's volumes as folders on this machine.

A process here sees the machine's own file system, so a volume cannot appear at its mountPath.
Each volume becomes a folder below the pod's own, and wherever the working directory, an argument
or an environment value *begins with* the mountPath, that beginning is replaced by the folder:
`--file=/config/x` is left alone, `/config/x` is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from knative.local.kube.environment import Lookup, MissingError, values_of

SUPPORTED = ("configMap", "secret", "emptyDir", "projected")


def unsupported(pod_spec: Mapping[str, Any]) -> str | None:
    """Why the volumes cannot be had on this machine, None if they can."""
    for volume in pod_spec.get("volumes") or ():
        kinds = [kind for kind in volume if kind != "name"]
        if kinds and kinds[0] not in SUPPORTED:
            return f"volume {volume['name']} is a {kinds[0]}, which this machine does not have"
    return None


def write_volumes(pod_spec: Mapping[str, Any], folder: Path, lookup: Lookup) -> None:
    """Write all volumes below `folder`; `MissingError` names what is not there yet."""
    for volume in pod_spec.get("volumes") or ():
        place = folder / volume["name"]
        place.mkdir(parents=True, exist_ok=True)
        sources = (volume.get("projected") or {}).get("sources") or [volume]
        for source in sources:
            for kind, field, label in (
                ("ConfigMap", "configMap", "name"),
                ("Secret", "secret", ""),
            ):
                if wanted := source.get(field):
                    name = wanted.get(label or "secretName") or wanted.get("name")
                    _write(place, kind, name, wanted, lookup)


def _write(place: Path, kind: str, name: str, wanted: Mapping[str, Any], lookup: Lookup) -> None:
    body = lookup(kind, name)
    if body is None:
        if wanted.get("optional"):
            return
        raise MissingError(f'{kind.lower()} "{name}" not found')
    entries = values_of(kind, body)
    items = wanted.get("items")
    chosen = (
        {item["path"]: item["key"] for item in items} if items else {key: key for key in entries}
    )
    for path, key in chosen.items():
        if key not in entries and wanted.get("optional"):
            continue
        if key not in entries:
            raise MissingError(f"{kind.lower()} {name!r} has no key {key!r}")
        target = (place / path).resolve()
        if not target.is_relative_to(place.resolve()):
            raise MissingError(f"{kind.lower()} {name!r}: path {path!r} leads out of the volume")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(entries[key])
        target.chmod(wanted.get("defaultMode") or (0o600 if kind == "Secret" else 0o644))


def mounts(container: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """mountPath -> the folder (or file, with subPath) that stands for it."""
    return {
        mount["mountPath"].rstrip("/"): str(folder / mount["name"] / (mount.get("subPath") or ""))
        for mount in container.get("volumeMounts") or ()
    }


def rewrite(text: str, places: Mapping[str, str]) -> str:
    """Put the folder in the place of a mountPath at the beginning; the longest one wins.

    >>> rewrite("/config/routes.yaml", {"/config": "/tmp/pod/routes"})
    '/tmp/pod/routes/routes.yaml'
    >>> rewrite("/configuration", {"/config": "/tmp/pod/routes"})
    '/configuration'
    """
    for path in sorted(places, key=len, reverse=True):
        if text == path or text.startswith(f"{path}/"):
            return places[path] + text[len(path) :]
    return text


def rewrite_all(texts: Iterable[str], places: Mapping[str, str]) -> list[str]:
    return [rewrite(text, places) for text in texts]
