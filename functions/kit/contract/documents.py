"""Bodies that users write: JSON or YAML, as plain data that JSON can hold."""

from __future__ import annotations

import json
from typing import Any

from functions.kit.cloudevents import NotAnEvent
from functions.kit.cloudevents.json_data import why_unreadable
from functions.kit.errors import shortened

# YAML takes fifty times as long as JSON, and no user writes more of it by hand.
MAX_YAML_BYTES = 64 * 1024
_MAX_NESTING = 100


def parsed(body: bytes) -> Any:
    """A body of JSON or YAML; JSON first, as it is the stricter of the two."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise NotAnEvent([f"the body is no UTF-8 text: {error.reason}"]) from None
    try:
        return json.loads(text)
    except RecursionError:
        raise NotAnEvent(["the body is nested too deeply"]) from None
    except ValueError:
        pass
    try:
        return from_yaml(text)
    except ValueError as error:
        raise NotAnEvent([f"the body is neither JSON nor YAML: {error}"]) from None


def from_yaml(text: str | bytes) -> Any:
    """YAML as JSON has it: a date is its text, a key is text. `ValueError` names what is wrong."""
    import yaml

    if len(text) > MAX_YAML_BYTES:
        raise ValueError(f"YAML of over {MAX_YAML_BYTES} bytes: send JSON")
    try:
        _check(text)
        return json.loads(json.dumps(yaml.load(text, yaml.CSafeLoader), default=str))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(shortened(why_unreadable(error), 200)) from None


def _check(text: str | bytes) -> None:
    """Refuse what grows or ends the process when it is loaded.

    A few hundred bytes of aliases are megabytes of JSON, and libyaml's loader calls itself for
    each level of nesting, without a limit.
    """
    import yaml

    level = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("aliases are not supported: write out what they stand for")
        if isinstance(event, yaml.CollectionStartEvent):
            level += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            level -= 1
        if level > _MAX_NESTING:
            raise ValueError(f"is nested deeper than {_MAX_NESTING} levels")
