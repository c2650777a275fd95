"""Code and documents use the terms of the field: none of the list below."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# As a part of a name, and in prose.
BANNED = {
    "armed": "configured",
    "clockwork": "timer loop",
    "courier": "dispatcher",
    "crowded": "under load",
    "crowds": "concurrency",
    "desk": "session, authentication",
    "door": "cross-origin check",
    "flying": "in flight",
    "happening": "input, event",
    "hears": "consumes",
    "heir": "reassign",
    "landed": "completed",
    "lane": "concurrency limiter",
    "lanes": "concurrency limiter",
    "letter": "dead letter",
    "letters": "dead letters",
    "mortal": "crash injection",
    "nobody": "no user, no consumer",
    "patience": "timeout",
    "people": "users, employees",
    "person": "user, employee",
    "said": "message, answer, attributes",
    "somebody": "user, caller, client",
    "speaks": "reports, emits",
    "spoken": "format",
    "told": "sent, reported",
    "trials": "startup cache",
    "unarmed": "not configured",
}
# In names alone: as prose they are English.
NAMES = {
    "least": "min",
    "left_s": "remaining_s",
    "most": "max",
    "standing": "status",
    "thing": "manifest, object",
    "within_s": "timeout_s",
    "words": "message, text",
}
_TREES = [ROOT / name for name in ("functions", "knative", "tests")]
# Not a test for each of the 1,200 files: that would take longer than to read them.
PLACES = [ROOT, ROOT / ".github", *(one for top in _TREES for one in sorted(top.glob("[!_]*")))]


def findings(path: Path) -> list[str]:
    """What is banned in a file, each with what to write."""
    text = (ROOT / path).read_text()
    names = _names(text) if path.suffix == ".py" else set[str]()
    parts = {part for name in names for part in _parts(name)}
    found = {word: better for word, better in NAMES.items() if word in names | parts}
    prose = _without_code(" ".join(_prose(text)) if path.suffix == ".py" else text)
    used = set(re.findall(r"[a-z]+", re.sub(r"dead[\s-]+letters?", "", prose.lower())))
    used |= parts
    found |= {word: BANNED[word] for word in BANNED if word in used}
    return [f"{path}: {word}: write {better}" for word, better in found.items()]


def _names(text: str) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def _parts(name: str) -> list[str]:
    """`MAX_BYTES` and `MaxBytes` have the parts `max` and `bytes`."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()
    return re.sub(r"dead_letters?", "", spaced).split("_")


def _prose(text: str) -> Iterator[str]:
    """Comments and docstrings."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def _without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def files(place: Path) -> Iterator[Path]:
    found = [place] if place.is_file() else place.glob("*") if place == ROOT else place.rglob("*")
    return (path.relative_to(ROOT) for path in found if path.suffix in (".md", ".py"))


@pytest.mark.parametrize("place", PLACES, ids=lambda place: str(place.relative_to(ROOT)))
def test_files_use_the_terms_of_the_field(place: Path) -> None:
    assert [one for path in files(place) for one in findings(path)] == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("def has_own_door(): ...", "door"),
        ("class LetterBox: ...", "letter"),
        ("MOST_BYTES = 1", "most"),
        ("within_s = 1.0", "within_s"),
        ("x = 1  # Nobody asks", "nobody"),
        ('def f():\n    """What it was told."""', "told"),
    ],
)
def test_a_banned_word_is_found(text: str, word: str, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(text)
    (found,) = findings(file)
    assert found.startswith(f"{file}: {word}: write ")


@pytest.mark.parametrize(
    "text",
    ["dead_letters = []", "class DeadLetter: ...", "# a dead letter, at most one", "x = 'said'"],
)
def test_terms_of_the_field_and_other_texts_are_not_found(text: str, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(text)
    assert findings(file) == []
