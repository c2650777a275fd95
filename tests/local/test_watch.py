"""`up --watch`: what a change of a file restarts, and what it does not."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from knative.local.cli.client import Client
from knative.local.errors import StartError
from tests.support import eventually
from tests.support.local_knative import ROOT, LocalKnative, local_knative

PROGRAM = """
import asyncio
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        said = " ".join(("WORDS", os.environ["K_REVISION"], os.environ.get("COLOUR", "grey")))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(said.encode())

HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"""
SERVICE = """
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: {name}, namespace: dsm}}
spec:
  template:
    metadata: {{annotations: {{autoscaling.knative.dev/min-scale: "1"}}}}
    spec:
      containers: [{{image: {name}, env: [{{name: COLOUR, value: {colour}}}]}}]
"""
PROGRAMS = """
images:
  one: {command: [python, one.py], watch: [one.py]}
  two: {command: [python, two.py], watch: [two.py]}
"""
TRIGGER = """
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default, namespace: dsm}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: all, namespace: dsm}
spec:
  broker: default
  subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: two}}
"""


class Town:
    """A runtime that watches a folder with two Services."""

    def __init__(self, folder: Path, runtime: LocalKnative) -> None:
        self.folder = folder
        self.runtime = runtime

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    async def answer(self, service: str) -> str:
        async with self.runtime.client(service) as client:
            try:
                return (await client.get("/")).text
            except httpx.TransportError as error:  # everything starts again just now
                return type(error).__name__

    async def will_answer(self, service: str, wanted: str) -> None:
        async def does() -> bool:
            return await self.answer(service) == wanted

        await eventually(does)

    async def problems(self) -> list[str]:
        return [one["problem"] for one in (await self.runtime.ask("status"))["problems"]]

    async def will_report(self, *parts: str) -> str:
        async def does() -> str:
            lines = self.runtime.data.with_name("data.log").read_text().splitlines()
            return next((line for line in lines if all(part in line for part in parts)), "")

        return await eventually(does)


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    folder = tmp_path / "k8s"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / f"{name}.py").write_text(PROGRAM.replace("WORDS", name))
        (folder / f"{name}.yaml").write_text(SERVICE.format(name=name, colour="red"))
    (folder / "knative-local.yaml").write_text(PROGRAMS)
    with local_knative(folder, tmp_path / "data", "--watch") as runtime:
        town = Town(folder, runtime)
        await town.will_report("Watching")
        yield town


async def test_a_change_of_code_is_a_new_revision_of_what_it_concerns(town: Town) -> None:
    await town.will_answer("one", "one one-00001 red")
    town.write("one.py", PROGRAM.replace("WORDS", "uno"))
    await town.will_answer("one", "uno one-00002 red")
    assert await town.answer("two") == "two two-00001 red"
    await town.will_report("one.py changed: one-00002 is ready after")


def lines_of(log: Path, part: str) -> list[str]:
    return [line for line in log.read_text().splitlines() if part in line]


async def test_the_data_folder_within_what_is_watched_is_no_change(tmp_path: Path) -> None:
    """As it mostly is: `up .`, with `.data` in it."""
    folder, log = tmp_path / "shop", tmp_path / "log"
    folder.mkdir()
    (folder / "one.py").write_text(PROGRAM.replace("WORDS", "one"))
    (folder / "one.yaml").write_text(SERVICE.format(name="one", colour="red"))
    (folder / "knative-local.yaml").write_text("images: {one: {command: [python, one.py]}}")
    command = [sys.executable, "-m", "knative.local", "up", ".", "--watch", "--port=0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    async def printed(part: str) -> list[str]:
        return await eventually(partial(asyncio.to_thread, lines_of, log, part))

    with log.open("w") as output:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=environment, stdout=output
        )
    try:
        await printed(f"Watching {folder}")
        for number, word in enumerate(("uno", "due"), 2):
            (folder / "one.py").write_text(PROGRAM.replace("WORDS", word))
            await printed(f"one.py changed: one-{number:05} is ready after ")
        assert len(lines_of(log, " changed")) == 2
    finally:
        process.terminate()
        await process.wait()


async def test_a_broken_change_keeps_what_runs_and_says_why(town: Town) -> None:
    town.write("one.py", "this is no Python")
    report = await town.will_report("one.py changed; one stays")
    assert "SyntaxError" in report
    assert await town.problems() == [report]
    assert await town.answer("one") == "one one-00001 red"
    town.write("one.py", PROGRAM.replace("WORDS", "mended"))
    await town.will_answer("one", "mended one-00003 red")
    assert await town.problems() == []


async def test_a_change_of_a_manifest_restarts_its_service_alone(town: Town) -> None:
    town.write("one.yaml", SERVICE.format(name="one", colour="blue"))
    await town.will_answer("one", "one one-00002 blue")
    assert await town.answer("two") == "two two-00001 red"


async def test_a_broken_manifest_changes_nothing_and_is_named_by_line(town: Town) -> None:
    town.write("one.yaml", SERVICE.format(name="one", colour="blue").replace("image:", "picture:"))
    await town.will_report("one.yaml changed; what runs stays")
    await town.will_report("one.yaml:9", "picture")
    assert await town.answer("one") == "one one-00001 red"


async def test_another_program_of_an_image_starts_everything_again(town: Town) -> None:
    town.write("three.py", PROGRAM.replace("WORDS", "three"))
    town.write("knative-local.yaml", PROGRAMS.replace("[python, one.py]", "[python, three.py]"))
    await town.will_report("knative-local.yaml", "everything starts again")

    async def is_three() -> bool:
        try:
            town.runtime.admin = Client(town.runtime.data)  # its token is another
        except StartError:
            return False
        return await town.answer("one") == "three one-00001 red"

    await eventually(is_three)


async def test_what_concerns_everything_starts_everything_again(town: Town) -> None:
    town.write("trigger.yaml", TRIGGER)
    await town.will_report("trigger.yaml changed: everything starts again")

    async def triggers() -> list[str]:
        try:
            town.runtime.admin = Client(town.runtime.data)  # its token is another
            status = await town.runtime.ask("status")  # a refusal until the token is known
            return [one["name"] for one in status.get("triggers", ())]
        except (StartError, ValueError, httpx.TransportError):
            return []

    assert await eventually(triggers) == ["all"]
