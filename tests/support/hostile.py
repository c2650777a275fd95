"""Ids, names and texts that a client may send: all alphabets, lengths and control characters."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

texts = st.one_of(
    st.text(st.characters(), max_size=40),  # surrogates and controls included
    st.sampled_from(
        ["ÜBER-1", "x" * 200, "漢" * 255, "a\x00b", "\n", " ", "", "..", "a/b", "%00", "\u202e"]
    ),
    st.sampled_from(["2026-02-30", "9999-12-31T23:59:59+14:00", "P", "1e999", "-0", "null", "٣"]),
    st.integers(256, 5000).map(lambda n: "é" * n),
)
anything = st.one_of(
    texts,
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63, -(2**63) - 1, 10**400]),
    st.floats(),
    st.lists(texts, max_size=2),
    st.dictionaries(texts, texts, max_size=2),
    st.just([[[[[[[[[[]]]]]]]]]] * 3),
)


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each value in a document, the containers' as well."""
    children: Sequence[tuple[Any, Any]] = ()
    if isinstance(document, dict):
        children = list(document.items())
    elif isinstance(document, list):
        children = list(enumerate(document))
    for key, value in children:
        yield (*path, key)
        yield from places(value, (*path, key))


def spoilt(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at a path; the copy without it where the value is `...`."""
    made = copy.deepcopy(document)
    holder = made
    for key in path[:-1]:
        if not isinstance(holder, dict | list):
            return made  # something above has been replaced
        holder = holder[key]
    if isinstance(holder, dict | list):
        if value is ...:
            del holder[path[-1]]
        else:
            holder[path[-1]] = value
    return made


def versions_of(document: Any, maximum: int = 3) -> st.SearchStrategy[Any]:
    """A document of which some values are others, or are missing."""
    one = st.tuples(st.sampled_from(list(places(document))), st.one_of(anything, st.just(...)))

    def spoil(changes: list[tuple[tuple[Any, ...], Any]]) -> Any:
        made = document
        for path, value in changes:
            try:
                made = spoilt(made, path, value)
            except (KeyError, IndexError, TypeError):
                continue  # it went with one before
        return made

    return st.lists(one, min_size=1, max_size=maximum).map(spoil)
