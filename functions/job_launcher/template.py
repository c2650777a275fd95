"""The routes' template language: `{{ data.issue.title | truncate 80 }}`. Values in, text out.

An expression is a dotted path into the event (a number indexes a list, a segment in quotes may hold
anything) or a literal in quotes; filters follow after `|`. Nothing is called and nothing is looked
up outside the event. A path that leads nowhere is an error unless `default` follows.

    default X     X (a path or a literal) where the path leads nowhere or to null
    lower, upper, slug, json
    truncate N    at most N characters
    first N       at most N items of a list
    join S        the items of a list with S between them
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Values = Mapping[str, Any]

_TOKEN = re.compile(
    r'\s*(?:(\|)|("(?:[^"\\]|\\.)*")|((?:[\w-]+|"[^"]*")(?:\.(?:[\w-]+|"[^"]*"))*))'
)
_SEGMENT = re.compile(r'"([^"]*)"|([\w-]+)')
_TAKES = {"default": 1, "lower": 0, "upper": 0, "slug": 0, "json": 0}
_TAKES |= {"truncate": 1, "first": 1, "join": 1}
_COUNTS = ("truncate", "first")


class BadTemplate(ValueError):
    """The template itself is wrong."""


class Missing(LookupError):
    """A path leads nowhere in this event."""


@dataclass(frozen=True)
class Path:
    """Where a value is in the event."""

    text: str
    segments: tuple[str, ...]


Term = Path | str


@dataclass(frozen=True)
class Filter:
    name: str
    argument: Term | None = None


@dataclass(frozen=True)
class Expression:
    head: Term
    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class Template:
    """A text with expressions in it."""

    parts: tuple[str | Expression, ...]

    def render(self, values: Values, escape: Callable[[str], str] = str) -> str:
        """The text with every expression's value; `escape` is applied to values only."""
        return "".join(
            part if isinstance(part, str) else escape(_text(_evaluate(part, values)))
            for part in self.parts
        )


@lru_cache(maxsize=1024)
def parse(text: str) -> Template:
    """Read a template; `BadTemplate` says what is wrong with it.

    >>> parse('{{ data.title | default "none" | upper }}!').render({"data": {"title": "so"}})
    'SO!'
    >>> parse("{{ data.title }}").render({"data": {}})
    Traceback (most recent call last):
    ...
    functions.job_launcher.template.Missing: the event has no data.title: add | default "..."
    """
    parts: list[str | Expression] = []
    rest = text
    while rest:
        before, opens, after = rest.partition("{{")
        if before:
            parts.append(before)
        if not opens:
            break
        inside, closes, rest = after.partition("}}")
        if not closes:
            raise BadTemplate(f"{{{{{inside[:40]} is not closed with }}}}")
        parts.append(_expression(inside.strip()))
    return Template(tuple(parts))


def first_words(found: Template) -> set[str]:
    """What the paths of a template begin with.

    >>> sorted(first_words(parse('{{ data.title | default source | truncate 8 }} "x"')))
    ['data', 'source']
    """
    expressions = [part for part in found.parts if isinstance(part, Expression)]
    terms: list[Term | None] = [one.head for one in expressions]
    terms += [f.argument for one in expressions for f in one.filters if f.name == "default"]
    return {term.segments[0] for term in terms if isinstance(term, Path)}


def path(text: str) -> Path:
    """Read a path that stands alone; `BadTemplate` where it is anything else."""
    found = _tokens(text)
    term = _term(found[0]) if len(found) == 1 and found[0] != "|" else None
    if not isinstance(term, Path):
        raise BadTemplate(f"{text[:40]!r} is no path: write one such as data.alerts")
    return term


def find(term: Term | None, values: Values) -> Any:
    """What is at a path, None where it leads nowhere; a literal is itself."""
    if not isinstance(term, Path):
        return term
    found: Any = values
    for segment in term.segments:
        if isinstance(found, Mapping):
            found = found.get(segment)
        elif isinstance(found, Sequence) and not isinstance(found, str) and segment.isdecimal():
            found = found[int(segment)] if int(segment) < len(found) else None
        else:
            return None
    return found


def dollar_safe(value: str) -> str:
    """A value that Kubernetes does not expand: `$(NAME)` in an event must stay text.

    >>> dollar_safe("read $(API_KEY)")
    'read $$(API_KEY)'
    """
    return value.replace("$", "$$")


def slug(text: str) -> str:
    """Lower case letters, digits and single dashes.

    >>> slug("Öfen & Co_2")
    'fen-co-2'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _expression(text: str) -> Expression:
    tokens = _tokens(text)
    if not tokens:
        raise BadTemplate("{{ }} is empty: name a path, such as data.issue.title")
    if tokens[0] == "|":
        raise BadTemplate(f"{{{{ {text} }}}} begins with |")
    head = _term(tokens.pop(0))
    filters = []
    while tokens:
        if tokens.pop(0) != "|" or not tokens:
            raise BadTemplate(f"{{{{ {text} }}}}: write | before a filter, and a filter after |")
        name = tokens.pop(0)
        if name not in _TAKES:
            raise BadTemplate(f"no filter {name}: there are {', '.join(sorted(_TAKES))}")
        argument = _term(tokens.pop(0)) if _TAKES[name] and tokens and tokens[0] != "|" else None
        if _TAKES[name] and argument is None:
            raise BadTemplate(f"filter {name} takes an argument")
        if name in _COUNTS and not (isinstance(argument, Path) and argument.text.isdecimal()):
            raise BadTemplate(f"filter {name} takes a number")
        filters.append(Filter(name, argument))
    return Expression(head, tuple(filters))


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.end() == at:
            raise BadTemplate(f"{{{{ {text} }}}}: cannot read {text[at:].strip()[:20]!r}")
        found.append(match[0].strip())
        at = match.end()
    return found


def _term(token: str) -> Term:
    if token.startswith('"') and token.endswith('"') and not re.search(r'[^\\]"\.', token):
        try:
            return str(json.loads(token))
        except ValueError:
            raise BadTemplate(f"{token} is no text: escape as in JSON") from None
    return Path(token, tuple(a or b for a, b in _SEGMENT.findall(token)))


def _evaluate(expression: Expression, values: Values) -> Any:
    filters = expression.filters
    value = find(expression.head, values)
    for one in filters:
        if one.name == "default":
            value = value if value is not None else find(one.argument, values)
        elif value is not None:
            value = _apply(one, value)
    if value is None:
        where = expression.head.text if isinstance(expression.head, Path) else expression.head
        raise Missing(f'the event has no {where}: add | default "..."')
    return value


def _apply(one: Filter, value: Any) -> Any:
    match one.name:
        case "lower":
            return _text(value).lower()
        case "upper":
            return _text(value).upper()
        case "slug":
            return slug(_text(value))
        case "json":
            return json.dumps(value, ensure_ascii=False, indent=2)
        case "truncate" if isinstance(one.argument, Path):
            return _text(value)[: int(one.argument.text)]
        case "first" if isinstance(one.argument, Path) and isinstance(value, list):
            return value[: int(one.argument.text)]
        case "join" if isinstance(value, list):
            return str(one.argument).join(map(_text, value))
    return value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
