"""The routes' templates: Jinja in its sandbox, over an event.

An expression reads the event's values only: `data.items` is the event's key and never a method of
a dict. A path to a missing value or to null is an error unless `default` follows. Two filters are
added to Jinja's:

    json    the value as indented JSON
    slug    `a-z`, `0-9` and single dashes
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, Undefined, UndefinedError, meta, nodes
from jinja2 import Template as Compiled
from jinja2.filters import FILTERS
from jinja2.sandbox import ImmutableSandboxedEnvironment

Values = Mapping[str, Any]

_FILTERS = [
    "default",
    "first",
    "int",
    "join",
    "last",
    "length",
    "lower",
    "replace",
    "trim",
    "truncate",
    "upper",
]
_OTHER_FILES = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
_WITHOUT_BRACKETS = re.compile(r"\|\s*(default|truncate|first|join)\s+[\w\"']")


class BadTemplate(ValueError):
    """The template is invalid."""


class MissingValue(LookupError):
    """The event lacks a value that the template references."""


class _MissingPath(StrictUndefined):
    """An undefined value, whose items are undefined too."""

    def __getitem__(self, key: object) -> _MissingPath:  # type: ignore[override]  # it raises there
        return self


class _Environment(ImmutableSandboxedEnvironment):
    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Undefined):
            return obj
        found = _item(obj, argument)
        return self.undefined(obj=obj, name=argument) if found is None else found

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)


class Template:
    """A compiled text with expressions."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            tree = _environment(str).parse(text)
            _compiled(text, str)
        except (TemplateError, SyntaxError, RecursionError, OverflowError) as error:
            hint = '; write default("x"), truncate(80)' if _WITHOUT_BRACKETS.search(text) else ""
            raise BadTemplate(f"{getattr(error, 'message', None) or error}{hint}") from None
        if next(tree.find_all(_OTHER_FILES), None) is not None:
            raise BadTemplate("a template may not include or import another")
        self.names: frozenset[str] = frozenset(meta.find_undeclared_variables(tree))
        self._paths = [path for node in tree.find_all(nodes.Expr) if (path := _path_of(node))]

    def render(self, values: Values, escape: Callable[[str], str] = str) -> str:
        """Return the text with every expression's value; `escape` applies to values only."""
        given = {name: value for name, value in values.items() if value is not None}
        try:
            return _compiled(self.text, escape).render(given)
        except UndefinedError as error:
            missing = [path for path in self._paths if find(path, values) is None]
            longest = max(missing, key=len, default=(error.message or "that",))
            where = ".".join(longest)
            raise MissingValue(f'the event has no {where}: add | default("...")') from None
        except Exception as error:
            raise MissingValue(f"{type(error).__name__}: {error}") from None


@lru_cache(maxsize=1024)
def parse(text: str) -> Template:
    """Compile a template; `BadTemplate` where it is invalid.

    >>> parse('{{ data.title | default("none") | upper }}!').render({"data": {"title": "so"}})
    'SO!'
    >>> parse("{{ data.title }}").render({"data": {}})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    functions.job_launcher.routes.template.MissingValue: the event has no data.title: ...
    """
    return Template(text)


def path(text: str) -> tuple[str, ...]:
    """Read a path without braces, such as `data.alerts`; `BadTemplate` where it is invalid."""
    if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", text):
        raise BadTemplate(f"{text[:40]!r} is no path: write one such as data.alerts")
    return tuple(text.split("."))


def find(segments: Sequence[str], values: Any) -> Any:
    """Return the value at a path, None where it is missing."""
    for segment in segments:
        values = _item(values, segment)
    return values


def dollar_safe(value: str) -> str:
    """Escape `$(NAME)`, which Kubernetes would expand.

    >>> dollar_safe("read $(API_KEY)")
    'read $$(API_KEY)'
    """
    return value.replace("$", "$$")


def slug(text: str) -> str:
    """Return the text in lower case, as `a-z`, `0-9` and single dashes.

    >>> slug("Öfen & Co_2")
    'fen-co-2'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


@lru_cache(maxsize=2048)
def _compiled(text: str, escape: Callable[[str], str]) -> Compiled:
    return _environment(escape).from_string(text)


@lru_cache
def _environment(escape: Callable[[str], str]) -> _Environment:
    environment = _Environment(
        undefined=_MissingPath,
        finalize=lambda value: value if isinstance(value, Undefined) else escape(_text(value)),
        keep_trailing_newline=True,
        # Jinja's own `{#` is in a shell's ${#name}.
        comment_start_string="{{#",
        comment_end_string="#}}",
    )
    environment.globals.clear()
    environment.filters = {name: FILTERS[name] for name in _FILTERS}
    environment.filters |= {"json": _json, "slug": lambda value: slug(_text(value))}
    return environment


def _item(value: Any, key: Any) -> Any:
    if isinstance(value, Mapping):
        return value.get(key)
    if isinstance(value, Sequence) and not isinstance(value, str) and str(key).isdecimal():
        return value[int(key)] if int(key) < len(value) else None
    return None


def _path_of(node: nodes.Node) -> tuple[str, ...]:
    if isinstance(node, nodes.Name):
        return (node.name,)
    if isinstance(node, nodes.Getattr):
        before, last = _path_of(node.node), node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        before, last = _path_of(node.node), str(node.arg.value)
    else:
        return ()
    return (*before, last) if before else ()


def _json(value: Any) -> Any:
    if isinstance(value, Undefined):
        return value
    return json.dumps(value, ensure_ascii=False, indent=2)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
