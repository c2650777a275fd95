"""Commands that show what runs and what happened, and that begin anew."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from knative.local.cli.parser import commands, parser
from tests.support.command_line import TINY, lines, one_line, run
from tests.support.local_knative import ROOT, LocalKnative, local_knative

GREETING, REFUSED = "io.example.greeting.v1", "io.example.refused.v1"
TICK = "dev.knative.sources.ping"


@pytest.fixture(scope="module")
def knative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKnative]:
    with local_knative(TINY, tmp_path_factory.mktemp("look")) as runtime:
        yield runtime


@pytest.fixture
def data(knative: LocalKnative) -> tuple[str, str]:
    return "--data", str(knative.data)


def test_status_says_what_is_wrong_and_what_to_do(
    knative: LocalKnative, data: tuple[str, str]
) -> None:
    run("send", "--type", REFUSED, *data)
    shown = run("status", *data)
    assert shown.returncode == 1
    assert f"serves {knative.url}, pid " in shown.stdout
    assert "deliveries ended as dead letters\n  knative-local dead-letters" in shown.stdout
    (found,) = lines("status", *data)
    assert {service["name"] for service in found["services"]} == {"echo", "letters"}
    assert found["problems"]


def test_a_dead_letter_is_delivered_again_with_all_of_its_attempts_on_record(
    data: tuple[str, str],
) -> None:
    run("send", "--type", REFUSED, "--id", "again", *data)
    assert run("dead-letters", "redrive", *data).stderr.startswith("redrive what: ")
    assert run("dead-letters", "redrive", "nobody", *data).returncode == 1
    redriven = run("dead-letters", "redrive", "again", *data)
    assert (redriven.returncode, redriven.stdout) == (0, "1 deliveries begin anew\n")

    def attempts() -> list[tuple[int, int]]:
        (record,) = lines("event", "again", *data)
        (delivery,) = record["deliveries"]
        return [(one["number"], one["status"]) for one in delivery["attempts"]]

    while len(attempts()) < 4:  # pytest's timeout ends it
        pass
    assert attempts() == [(1, 422), (2, 202), (3, 422), (4, 202)]


def test_an_event_shows_its_whole_way(data: tuple[str, str]) -> None:
    fired = json.loads(run("fire", "morning", "--json", *data).stdout)
    (record,) = lines("event", fired["id"], *data)
    assert record["caused_by"] is None
    (answer,) = record["caused"]
    assert answer["attributes"]["type"] == "io.example.ticked.v1"
    (same,) = lines("event", f"#{answer['seq']}", *data)
    assert same["caused_by"]["id"] == fired["id"]
    run("send", "--type", GREETING, "--extension", f"causationid={fired['id']}", *data)
    shown = run("event", fired["id"], *data).stdout.splitlines()
    assert f"{TICK}  from /apis/v1/namespaces/dsm/pingsources/morning" in shown[0]
    assert '  data: {"hello": 1}' in shown
    assert any("  dsm/echo-ticks: delivered, 1 attempt" in line for line in shown)
    caused = [line.split()[3] for line in shown if line.startswith("  caused ")]
    assert caused == ["io.example.ticked.v1", GREETING]
    assert one_line(run("event", "nobody", *data)).startswith("there is no event nobody")


def test_the_beginning_of_an_id_is_enough_where_it_is_one(data: tuple[str, str]) -> None:
    for id in ("abcdef-1", "abcdef-2", "abcdeg-3"):
        run("send", "--type", GREETING, "--id", id, *data)
    (found,) = lines("event", "abcdeg", *data)
    assert found["attributes"]["id"] == "abcdeg-3"
    expected_text = one_line(run("event", "abcdef", *data), 2)
    assert expected_text == "'abcdef' begins several ids: abcdef-1, abcdef-2"
    assert one_line(run("event", "abcde", *data)).startswith("there is no event abcde")


def test_a_broker_is_named_in_short(data: tuple[str, str]) -> None:
    (sent,) = lines("send", "--type", GREETING, "--broker", "default", *data)
    assert sent["status"] == 202
    expected_text = one_line(run("send", "--type", GREETING, "--broker", "nope", *data), 2)
    assert expected_text == "'nope' is no Broker as NAMESPACE/NAME; there are: dsm/default"


FILTERS: list[tuple[list[str], bool]] = [
    (["--type", "greet"], True),
    (["--type", "nothing"], False),
    (["--source", "/shop"], True),
    (["--source", "/desk"], False),
    (["--subject", "s-1"], True),
    (["--subject", "s"], False),
    (["--extension", "tenant=acme"], True),
    (["--extension", "tenant=acme", "--extension", "tier=gold"], False),
    (["--state", "delivered"], True),
    (["--state", "failed"], False),
    (["--trigger", "echo-takes", "--state", "delivered"], True),
    (["--trigger", "echo-refuses"], False),
    (["--from", "10m"], True),
    (["--to", "10m"], False),
    (["--from", "2026-11-25T08:00-06:00", "--to", "2999-01-01T00:00Z"], True),
]


@pytest.mark.parametrize(("given", "found"), FILTERS, ids=lambda value: str(value))
def test_events_are_filtered(data: tuple[str, str], given: list[str], found: bool) -> None:
    sent = ("--subject", "s-1", "--source", "/shop/1", "--extension", "tenant=acme")
    run("send", "--type", GREETING, "--id", "wanted", *sent, *data)
    ids = {one["attributes"]["id"] for one in lines("events", *given, *data)}
    assert ("wanted" in ids) is found


def test_what_there_is_not_is_answered_with_what_there_is(data: tuple[str, str]) -> None:
    run("send", "--type", GREETING, *data)
    shown = run("events", "--type", "nothing", "--trigger", "nobody", *data).stdout
    assert shown.startswith("no events match\ntypes there are: ")
    assert GREETING in shown
    assert "dsm/echo-takes-greetings" in shown
    assert "there are: pending, " in one_line(run("events", "--state", "lost", *data), 2)
    assert "2026-11-25T08:00" in one_line(run("events", "--from", "noon", *data), 2)
    assert "name=value" in one_line(run("events", "--extension", "Tenant=1", *data), 2)


def test_schedules_have_their_next_times(data: tuple[str, str]) -> None:
    (morning,) = lines("schedules", *data)
    assert (morning["name"], morning["timezone"]) == ("morning", "America/Chicago")
    assert len(morning["times"]) == 3
    assert morning["times"] == sorted(morning["times"])
    assert "dsm/morning  30 8 * * *  America/Chicago" in run("schedules", *data).stdout


def test_logs_are_shown_and_followed(knative: LocalKnative, data: tuple[str, str]) -> None:
    log = knative.data / "logs" / "echo.log"
    log.write_text("one\n\x1b[31mtwo\n")
    assert run("logs", "echo", "--lines", "1", *data).stdout == "\N{REPLACEMENT CHARACTER}[31mtwo\n"
    assert lines("logs", "echo", *data)[0] == {"service": "echo", "line": "one"}
    assert one_line(run("logs", "nobody", *data)).startswith("there is no log of nobody; there are")
    command = [sys.executable, "-m", "knative.local", "logs", "-f", "echo", *data]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "one\n"
        assert follower.stdout.readline().endswith("two\n")
        with log.open("a") as file:
            file.write("three\n")
        assert follower.stdout.readline() == "three\n"
        follower.send_signal(signal.SIGINT)
        assert follower.wait(10) == 130


def test_reset_begins_anew_on_the_same_port(tmp_path: Path) -> None:
    with local_knative(TINY, tmp_path / "data") as knative:
        data = ("--data", str(knative.data))
        run("send", "--type", REFUSED, *data)
        done = run("reset", *data)
        assert done.stdout == f"began anew at {knative.url}, with nothing stored\n"
        assert run("events", *data).stdout == "no events\n"
        assert run("send", "--type", GREETING, *data).returncode == 0


@pytest.mark.parametrize("name", commands())
def test_every_command_has_help_with_examples_that_are_right(name: str) -> None:
    helped = run(name, "--help").stdout
    assert helped.startswith(f"usage: knative-local {name} ")
    assert "Error when" not in helped, "what a docstring says of its exceptions"
    for line in helped.partition("examples:\n")[2].splitlines():
        expected_text = shlex.split(re.split(r" [|>] ", line)[0])
        assert expected_text[:2] == ["knative-local", name]
        assert parser().parse_args(expected_text[1:]).command == name


HEAVY = {"httpx", "uvloop", "aiohttp", "psutil", "rich", "pydantic", "asyncio", "yaml", "asyncpg"}
READING: list[list[str]] = [
    ["status"], ["services"], ["schedules"], ["logs"], ["events"], ["event", "#1"],
    ["dead-letters"], ["send", "--type", "t"], ["fire", "morning"],
]  # fmt: skip


@pytest.mark.parametrize("expected_text", READING, ids=lambda expected_text: expected_text[0])
def test_a_command_imports_nothing_that_it_does_not_need(
    expected_text: list[str], data: tuple[str, str]
) -> None:
    """What it costs to start is felt with every command."""
    command = [sys.executable, "-X", "importtime", "-m", "knative.local", *expected_text, *data]
    shown = subprocess.run(
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    assert "knative.local.cli.main" in imported
    assert not HEAVY & imported
    assert len(imported) < 170


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("knative-local even", "events event"),
        ("knative-local dead-letters re", "redrive"),
        ("knative-local events --sub", "--subject"),
    ],
)
def test_a_shell_completes_commands_and_options(line: str, completed: str) -> None:
    script = run("completion", "bash").stdout
    script += f"\nCOMP_WORDS=({line}); COMP_CWORD=$(({len(line.split())} - 1))"
    script += "\n_knative_local; echo ${COMPREPLY[@]}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == completed.split()
