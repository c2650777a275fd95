"""The tables of settings: every Settings class, as a user reads it."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

import functions
from functions.kit.settings import Settings
from tests.support.repository import all_folders

# Whose source says this reads that class of the kit; every process reads the others.
_USES: dict[str, str] = {
    "DatabaseSettings": r"\b(ctx|step)\.(store|tx|journal)\b|\.(store|database)\b|\bonce\("
    r"|inbox=True",
    "HttpSettings": r"\b(ctx|resources)\.(http|publisher)\b|\bdsm\(",
    "ServiceSettings": r"\bdsm\(",
    "ClusterSettings": r"\bctx\.cluster\b",
    "GithubSettings": r"\bGithubSettings\b|\bctx\.(github|asks_github)\b",
}


def classes() -> list[type[Settings]]:
    """Every settings class of the functions, in the order of the table."""
    for module in pkgutil.walk_packages(functions.__path__, "functions."):
        if not re.search(r"\.(migrations|alembic)\b|\.__main__$", module.name):
            importlib.import_module(module.name)
    found = [c for c in Settings.__subclasses__() if c.__module__.startswith("functions.")]
    return sorted(found, key=lambda c: (not _of_the_kit(c), c.__module__, c.__name__))


def table() -> str:
    """Markdown: a table for each class, with what it is about and who reads it."""
    return "\n\n".join(_part(kind) for kind in classes())


def _part(kind: type[Settings]) -> str:
    about = (inspect.getdoc(kind) or "").partition("\n")[0]
    lines = [
        f"**{about}** Read by {', '.join(readers(kind))}.\n",
        "| setting | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in kind.model_fields.items():
        cells = (" or ".join(_names(name, field)), _default(field), _meaning(field))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def readers(kind: type[Settings]) -> list[str]:
    """Which processes read a class."""
    if not _of_the_kit(kind):
        folder = kind.__module__.removeprefix("functions.").removeprefix("dsm.").partition(".")[0]
        return [folder.replace("_", "-")]
    pattern = _USES.get(kind.__name__)
    if pattern is None:
        return ["every process"]
    users = [n for n in all_folders() if any(re.search(pattern, text) for text in _texts(n))]
    return [name.replace("_", "-") for name in users]


def _texts(name: str) -> Iterator[str]:
    yield from (path.read_text() for path in sorted(all_folders()[name].rglob("*.py")))


def _of_the_kit(kind: type[Settings]) -> bool:
    return kind.__module__.startswith(("functions.kit.", "functions.dsm_client."))


def _names(name: str, field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [f"`{c}`" for c in alias.choices if isinstance(c, str) and c.isupper()]
    return [f"`{name.upper()}`"]


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if field.is_required():
        return "required"
    if value in ("", None):
        return "none"
    return f"`{value if isinstance(value, str) else json.dumps(value, default=str)}`"


def _meaning(field: FieldInfo) -> str:
    assert field.description, "every setting says what it means"
    return field.description
