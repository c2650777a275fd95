"""Secrets that each data folder makes for itself, so that what is published opens nothing.

A Secret with the annotation below gets a random value for each key that it names and does not hold.
The values stand in a file of the data folder that its owner alone may read, and stay for its life.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from knative.local.data_folder import write_private
from knative.local.errors import StartError

if TYPE_CHECKING:
    from knative.local.manifests.load import World
    from knative.local.manifests.meta import Manifest

ANNOTATION = "knative-local/random"  # key names with blanks between them
FILE = "secrets.json"

Values = dict[str, dict[str, str]]  # by namespace/name, by key


def filled(world: World, data: Path) -> World:
    """The world with the values of this data folder; missing ones are made."""
    values = read(data)
    before = json.dumps(values)
    objects = tuple(_filled(item, values) for item in world.objects)
    if json.dumps(values) != before:
        write_private(data / FILE, json.dumps(values))
    return replace(world, objects=objects)


def read(data: Path) -> Values:
    """What the data folder has made so far."""
    file = data / FILE
    try:
        found: Values = json.loads(file.read_text()) if file.exists() else {}
    except ValueError:
        raise StartError(f"{file} is broken: delete it, and new secrets are made") from None
    return found


def _filled(item: Manifest, values: Values) -> Manifest:
    from knative.local.manifests.core import Secret  # whoever only reads need not load it

    names = item.metadata.annotations.get(ANNOTATION, "").split()
    if not isinstance(item, Secret) or not names:
        return item
    own = values.setdefault(f"{item.namespace}/{item.name}", {})
    held = item.files()
    made = {key: own.setdefault(key, _new()) for key in names if key not in held}
    return item.model_copy(update={"string_data": {**item.string_data, **made}})


def _new() -> str:
    """In the form of Standard Webhooks, which is as good as any for the others."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
