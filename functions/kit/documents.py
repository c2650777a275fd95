"""Bodies that people write: JSON or YAML, as plain data that JSON can say."""

from __future__ import annotations

import json
from typing import Any

from functions.kit.errors import shortened
from functions.kit.wire import NotAnEvent


def parsed(body: bytes) -> Any:
    """A body of JSON or YAML; JSON first, as it is the stricter of the two."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise NotAnEvent([f"the body is no UTF-8 text: {error.reason}"]) from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return from_yaml(text)
    except ValueError as error:
        raise NotAnEvent([f"the body is neither JSON nor YAML: {error}"]) from None


def from_yaml(text: str | bytes) -> Any:
    """YAML as JSON has it: a date is its text, a key is text. `ValueError` says what is wrong."""
    import yaml

    class Plain(yaml.SafeLoader):
        """Without aliases: a few hundred bytes of them are megabytes of JSON."""

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("aliases are not taken: write out what they stand for")
            return super().compose_node(parent, index)

    try:
        return json.loads(json.dumps(yaml.load(text, Plain), default=str))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(shortened(str(error), 200)) from None
