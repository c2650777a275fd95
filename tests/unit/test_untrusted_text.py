"""What a stranger's text may hide, mention, load and refer to."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.untrusted_text import harmless, publishable, without_comments

# What GitHub looks for, in the text as it is once its entities are read.
MENTION = re.compile(r"(?:^|\W)@(?=[A-Za-z0-9])")
REFERENCE = re.compile(r"#(?=\d)|\bGH-\d|/(?:issues|pull|discussions)/\d", re.IGNORECASE)
LOADED = re.compile(r"!\[|<(?:img|picture|source|video)\b", re.IGNORECASE)

PARTS = (
    *("<!--", "-->", "<!", "--", "<", ">", "!", "[", "]", "(", ")", "![a](b)", "<img src=x>"),
    *("@", "@octocat", "x.@octocat", "`", "/", "\\", "\n", " ", "x", "\u200b", "<Picture>"),
    *("#", "#9", "#7", "a/b#7", "&#64;a", "&#x40;a", "&commat;a", "&num;9", "&#35;9", "&"),
    *("GH-9", "gh-7", "fixes ", "https://github.com/a/b/issues/9", "https://x.example/pull/1"),
)
TEXTS = st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=12).map("".join)


@given(TEXTS)
def test_no_text_hides_mentions_loads_or_refers(text: str) -> None:
    found = harmless(text)
    assert "<!--" not in found
    assert not LOADED.search(found)
    shown = html.unescape(found)
    assert not MENTION.search(shown), shown
    assert not REFERENCE.search(shown), shown


@given(TEXTS)
def test_what_is_harmless_stays_as_it_is(text: str) -> None:
    found = harmless(text, issue=7)
    assert harmless(found, issue=7) == found


@given(TEXTS)
def test_no_comment_is_left_in_what_an_agent_reads(text: str) -> None:
    assert "<!--" not in without_comments(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a<!<!-- -->-- hidden -->b", "a<\u200b!-- hidden -->b"),
        ("<!![](x)-- hidden -->", "<\u200b!-- hidden -->"),
        ("x.@octocat, /@octocat, `@octocat", "x.@\u200boctocat, /@\u200boctocat, `@\u200boctocat"),
        ("![](https://evil.example/?k=1)!", "!"),
        ("![the plan][x]", "!\u200b[the plan][x]"),
        ("<IMG src=x>", "<\u200bIMG src=x>"),
        ("fixes #9, fixes a/b#7, GH-9", "fixes #\u200b9, fixes a/b#\u200b7, GH-\u200b9"),
        ("--GH-9", "--GH-\u200b9"),
        ("fixes #7, not #70", "fixes #7, not #\u200b70"),
        ("# A title\n\n- a < b", "# A title\n\n- a < b"),
    ],
)
def test_each_way_is_closed(text: str, shown: str) -> None:
    assert harmless(text, issue=7) == shown


def test_a_private_key_is_redacted_to_its_end() -> None:
    begin, end = (f"-----{word} RSA PRIVATE KEY-----" for word in ("BEGIN", "END"))
    assert publishable(f"It is {begin}\nMIIE\n{end}.") == "It is [a private key]."
    assert publishable(f"It is {begin}\nMIIE") == "It is [a private key]"
