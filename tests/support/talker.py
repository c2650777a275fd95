"""A target with an inbox that says as many words as it is asked to."""

from __future__ import annotations

from typing import ClassVar

from functions.events.base import Event, Request
from functions.kit.context import Context
from functions.kit.contract import function


class RepeatRequested(Request):
    type: ClassVar[str] = "test.words.asked.v1"
    texts: list[str]


class Repeated(Event):
    type: ClassVar[str] = "test.said.v1"
    word: str
    about: str

    def subject(self) -> str:
        return self.about


@function(emits=[Repeated], inbox=True)
async def talker(event: RepeatRequested, ctx: Context) -> list[Repeated]:
    """Of every other word the subject is the same: those leave in order, one after the other."""
    subjects = ("all", "")
    return [
        Repeated(word=word, about=subjects[number % 2] or word)
        for number, word in enumerate(event.texts)
    ]
