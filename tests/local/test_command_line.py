"""The command line: readable without, JSON with --json, one plain line when something is wrong."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from knative.local.cli import show
from tests.support.command_line import TINY, lines, one_line, run
from tests.support.local_knative import BROKER_HOST, ROOT, LocalKnative, local_knative
from tests.support.manifest_files import BROKER, SERVICE, write


@pytest.fixture(scope="module")
def knative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKnative]:
    with local_knative(TINY, tmp_path_factory.mktemp("cli")) as runtime:
        yield runtime


def test_a_newcomer_can_fire_send_and_look(knative: LocalKnative) -> None:
    data = str(knative.data)
    assert "dsm/morning: tick" in run("fire", "morning", "--data", data).stdout
    sent = run("send", "--type", "io.example.greeting.v1", "--event-data", '{"a": 1}',
               "--extension", "k=v", "--data", data)  # fmt: skip
    assert (sent.returncode, sent.stderr) == (0, "")
    assert sent.stdout.endswith(": 202, dsm/echo-takes-greetings: delivered\n")
    shown = run("events", "--data", data).stdout
    assert "io.example.greeting.v1" in shown
    assert "dsm/echo-takes-greetings: delivered, 1 attempt" in shown
    assert "echo" in run("services", "--data", data).stdout
    assert run("dead-letters", "--data", data).stdout == "no dead letters\n"


def test_an_event_without_a_consumer_and_an_unknown_broker_are_reported(
    knative: LocalKnative,
) -> None:
    data = ("--data", str(knative.data))
    sent = run("send", "--type", "io.example.nobody.v1", *data)
    assert sent.returncode == 0
    assert "202, no Trigger takes it; of dsm/default echo-takes-greetings takes io." in sent.stdout
    sent = run("send", "--type", "t", "--broker", "dsm/other", *data)
    assert sent.returncode == 1
    assert sent.stdout.endswith("404, there is no Broker dsm/other; there are: dsm/default\n")


def test_of_many_triggers_those_are_named_that_take_something_like_it() -> None:
    triggers = [
        {"name": name, "filters": None, "filter": {"type": f"io.dsm.{name}.v1"}}
        for name in ("job.queued", "cycle.requested", "sprint.reported", "cycle.completed", "saga")
    ]
    assert show.nearest(triggers, "io.dsm.cycle.request.v1").startswith(
        "cycle.requested takes io.dsm.cycle.requested.v1; "
    )
    assert show.nearest(triggers, "io.dsm.cycle.request.v1").endswith("; and 2 more")
    assert show.nearest(triggers[:1], "x") == "job.queued takes io.dsm.job.queued.v1"


def test_data_of_an_event_is_still_taken_from_its_old_option(knative: LocalKnative) -> None:
    sent = run("send", "--type", "io.example.greeting.v1", "--data", '{"a": 1}', "--state",
               str(knative.data), "--json")  # fmt: skip
    assert "send data with --event-data" in sent.stderr
    assert json.loads(sent.stdout)["deliveries"] == [
        {"trigger": "dsm/echo-takes-greetings", "state": "delivered"}
    ]


@pytest.mark.parametrize("limit", ["-5", "0", "x", "\u0665"])
def test_a_limit_is_a_number_from_one_on(knative: LocalKnative, limit: str) -> None:
    failed = run("events", "--limit", limit, "--data", str(knative.data))
    assert (failed.returncode, failed.stdout) == (2, "")
    assert f"argument --limit: {limit!r} is no number from 1 on" in failed.stderr


async def test_the_administration_says_which_number_is_none(knative: LocalKnative) -> None:
    async with knative.client() as client:
        for path in ("events?limit=-5", "events?since=x", "events/search?before=-1"):
            answer = await client.get(f"/_knative/{path}")
            assert (answer.status_code, "must be a number" in answer.text) == (422, True)


async def test_head_is_answered_wherever_get_is(knative: LocalKnative) -> None:
    async with knative.client() as client:
        for path in ("/", "/_knative/status", "/_knative/events", "/kubernetes/version"):
            got, headed = await client.get(path), await client.head(path)
            assert (headed.status_code, headed.content) == (got.status_code, b""), path


async def test_a_crash_of_the_broker_loses_nothing_when_all_is_settled(
    knative: LocalKnative,
) -> None:
    crashed = run("crash-broker", "--data", str(knative.data))
    assert crashed.stdout == "0 deliveries lost\n"
    assert await knative.crash_broker() == 0


POISON = {
    "NaN": b'{"price": NaN}',
    "a huge number": b'{"price": 1e999}',
    "half a surrogate pair": b'{"t":"half \\ud83d"}',
    "2000 nested lists": b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}",
    "900 nested lists": b"[" * 900 + b"]" * 900,
    "bytes": b"\xff\x00",
    "huge": b'"' + b"x" * 200_000 + b'"',
}


async def test_no_event_breaks_a_list_that_it_is_in(knative: LocalKnative) -> None:
    async with knative.client() as client:
        for name, data in POISON.items():
            headers = {"host": BROKER_HOST, "ce-specversion": "1.0", "ce-id": name,
                       "ce-source": "/probe", "ce-type": "order.poisoned",
                       "content-type": "application/json"}  # fmt: skip
            answer = await client.post("/dsm/default", headers=headers, content=data)
            assert answer.status_code == 202
        for path in ("events?type=order.poisoned", "events/search?type=order.poisoned"):
            answer = await client.get(f"/_knative/{path}")
            found = {e["attributes"]["id"]: e for e in answer.json()}
            assert found.keys() == POISON.keys()
            assert json.dumps(answer.json(), allow_nan=False, ensure_ascii=False).encode()
    assert found["NaN"]["data"] == '{"price": NaN}'
    assert found["900 nested lists"]["data"] == "[" * 900 + "]" * 900
    assert found["bytes"]["data_base64"] == "/wA="
    assert (found["huge"]["size"], found["huge"]["cut"]) == (200_002, True)
    shown = run("events", "--type", "order.poisoned", "--data", str(knative.data))
    assert shown.stdout.count("no trigger matched") == len(POISON)


@pytest.mark.parametrize(
    "command", ["status", "services", "schedules", "events", "dead-letters", "logs"]
)
def test_json_is_an_object_a_line(knative: LocalKnative, command: str) -> None:
    assert all(isinstance(one, dict) for one in lines(command, "--data", str(knative.data)))


def test_events_can_be_followed(knative: LocalKnative) -> None:
    command = [sys.executable, "-m", "knative.local", "events", "-f", "--json", "--subject", "s"]
    command += ["--data", str(knative.data)]
    data = ("--data", str(knative.data))
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdout is not None
        assert follower.stderr is not None
        assert follower.stderr.readline().startswith("Following")
        for subject in ("other", "s"):
            run("send", "--type", "io.example.greeting.v1", "--subject", subject, *data)
        changes = [json.loads(follower.stdout.readline()) for _ in range(2)]
        follower.terminate()
    assert [change["state"] for change in changes] == [None, "delivered"]
    (listed,) = lines("events", "--limit", "1", *data)
    assert listed == {name: changes[-1][name] for name in listed}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is full")
def test_output_that_cannot_be_written_is_one_line(knative: LocalKnative) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "knative.local", "status", "--data", str(knative.data)]
        failed = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert (failed.returncode, failed.stderr) == (1, "[Errno 28] No space left on device\n")


def test_an_unknown_schedule_is_reported_with_those_that_exist(knative: LocalKnative) -> None:
    failed = run("fire", "evening", "--data", str(knative.data))
    assert failed.returncode == 1
    assert failed.stderr == "schedule 'evening' does not exist; there are: dsm/morning\n"


def test_once_ends_when_all_is_settled(tmp_path: Path) -> None:
    done = run("up", "--overlay", str(TINY), "--data", str(tmp_path), "--port", "0", "--once")
    assert done.returncode == 0
    assert "Settled: " in done.stdout


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        failed = run("up", "--overlay", str(TINY), "--data", str(tmp_path), "--port", port)
    assert one_line(failed).startswith(f"port {port} is taken")


def other_version(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("pragma user_version = 99")


def garbage(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"no database" * 1000)


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (other_version, "broker.sqlite"),
        (garbage, "broker.sqlite"),
        (other_version, "kube/kube.sqlite"),
        (garbage, "kube/kube.sqlite"),
    ],
    ids=["broker: another version", "broker: garbage", "API: another version", "API: garbage"],
)
def test_state_that_cannot_be_used_is_one_line(
    tmp_path: Path, spoil: Callable[[Path], None], name: str
) -> None:
    spoil(tmp_path / "data" / name)
    overlay = write(tmp_path / "overlay", objects=BROKER)
    failed = run("up", "--overlay", str(overlay), "--data", str(tmp_path / "data"), "--port", "0")
    assert one_line(failed).startswith(f"cannot use {tmp_path / 'data' / Path(name).parts[0]}: ")


def test_a_data_directory_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    failed = run("up", "--overlay", str(TINY), "--data", str(tmp_path / "file"), "--port", "0")
    assert one_line(failed).startswith(f"cannot use {tmp_path / 'file'}: ")


def test_a_port_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    failed = run("up", "--overlay", str(TINY), "--data", str(tmp_path), "--port", "70000")
    assert one_line(failed).startswith("cannot listen on port 70000: ")


def test_a_runtime_json_of_long_ago_is_one_line(tmp_path: Path) -> None:
    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        do_POST = do_GET  # noqa: N815  # the name is http.server's

        def log_message(self, format: str, *args: object) -> None:
            """No access log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        (tmp_path / "runtime.json").write_text(
            json.dumps({"url": url, "token": "of then", "pid": 1})
        )
        commands = (["services"], ["events"], ["fire", "morning"])
        failed = [run(*command, "--data", str(tmp_path)) for command in commands]
        server.shutdown()
    for one in failed:
        assert one_line(one).startswith(f"what answers at {url} is no local Knative")


def test_foreign_text_is_no_markup_and_no_bytes_that_a_header_cannot_hold(
    knative: LocalKnative,
) -> None:
    data = str(knative.data)
    sent = run("send", "--type", "io.example.odd.v1", "--id", "[/x]", "--subject", "Zoë :x:",
               "--source", "[bold]", "--data", data)  # fmt: skip
    assert (sent.returncode, sent.stderr) == (0, "")
    shown = run("events", "--type", "io.example.odd.v1", "--data", data)
    assert shown.returncode == 0
    assert "io.example.odd.v1 Zo%C3%AB%20:x: from [bold] id [/x]" in shown.stdout


def test_a_runtime_goes_on_when_its_reader_is_gone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "knative.local", "up", "--overlay", str(TINY)]
    command += ["--data", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as runtime:
        assert runtime.stdout is not None
        for line in runtime.stdout:
            if line.startswith("Ready."):
                break
        runtime.stdout.close()
        with (tmp_path / "logs" / "echo.log").open("a") as log:
            log.write("ERROR: nobody reads this\n")
        with pytest.raises(subprocess.TimeoutExpired):
            runtime.wait(2)
        runtime.terminate()
        assert runtime.wait(20) == 0
    assert not (tmp_path / "runtime.json").exists()


def test_a_second_interrupt_ends_it_at_once(tmp_path: Path) -> None:
    jobs = Path(__file__).parent / "overlays" / "jobs"
    command = [sys.executable, "-m", "knative.local", "up", "--overlay", str(jobs)]
    command += ["--data", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as runtime:
        assert runtime.stderr is not None
        lines = iter(runtime.stderr)
        assert "Starting PostgreSQL\n" in lines
        runtime.send_signal(signal.SIGINT)
        assert "Stopping; Ctrl-C again kills\n" in lines
        runtime.send_signal(signal.SIGINT)
        assert runtime.wait(3) == 130
    run("down", "--data", str(tmp_path))


def test_a_second_runtime_on_the_same_data_is_refused(knative: LocalKnative) -> None:
    failed = run("up", "--overlay", str(TINY), "--data", str(knative.data), "--port", "0")
    assert one_line(failed).startswith("another local Knative runs on ")
    assert run("services", "--data", str(knative.data)).returncode == 0


def test_broken_yaml_is_one_line(tmp_path: Path) -> None:
    overlay = write(tmp_path / "overlay", objects="a: [1\n")
    failed = run("up", "--overlay", str(overlay), "--data", str(tmp_path / "data"), "--port", "0")
    assert "objects.yaml:2: broken YAML: " in one_line(failed)


def test_a_function_that_does_not_import_is_one_line(tmp_path: Path) -> None:
    service = SERVICE.replace("{image: echo}", "{image: echo, command: [python, -m, tests.nope]}")
    overlay = write(tmp_path / "overlay", objects=service)
    failed = run("up", "--overlay", str(overlay), "--data", str(tmp_path / "data"), "--port", "0")
    line = one_line(failed)
    assert line.startswith("service echo cannot start: it ended with exit code 1: ")
    assert "No module named tests.nope" in line


def test_a_failing_job_is_one_line(tmp_path: Path) -> None:
    job = """
    apiVersion: batch/v1
    kind: Job
    metadata: {name: migrate}
    spec:
      backoffLimit: 0
      template:
        spec:
          restartPolicy: Never
          containers: [{name: m, image: m, command: [python, -c, "raise SystemExit('no schema')"]}]
    """
    overlay = write(tmp_path / "overlay", objects=f"{BROKER}---{job}")
    failed = run("up", "--overlay", str(overlay), "--data", str(tmp_path / "data"), "--port", "0")
    assert one_line(failed) == "Job dsm/migrate failed: no schema"


def test_down_stops_the_runtime_and_what_a_killed_one_left(tmp_path: Path) -> None:
    jobs = Path(__file__).parent / "overlays" / "jobs"
    runtime = LocalKnative(jobs, tmp_path).start()
    assert run("down", "--data", str(tmp_path)).stdout == "stopped the local Knative\n"
    assert runtime.process is not None
    assert runtime.process.wait(5) == 0
    runtime.start()
    runtime.kill()
    expected_text = one_line(run("status", "--data", str(tmp_path)))
    assert "has ended without a word; start it again with `" in expected_text
    assert run("down", "--data", str(tmp_path)).stdout == "stopped PostgreSQL\n"
    assert run("down", "--data", str(tmp_path)).stdout == f"nothing runs on {tmp_path}\n"


def test_without_a_runtime_the_commands_say_so(tmp_path: Path) -> None:
    expected_text = one_line(run("services", "--data", str(tmp_path)))
    assert expected_text.startswith("no local Knative runs")
    python = expected_text.partition("`")[2].split()[0]
    assert shutil.which(python, path=f"{ROOT}:{os.environ['PATH']}") or (ROOT / python).exists()


def test_an_answer_that_failed_is_not_taken_for_another_program(tmp_path: Path) -> None:
    class Broken(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(500)

        def log_message(self, format: str, *args: object) -> None:
            """No access log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        (tmp_path / "runtime.json").write_text(json.dumps({"url": url, "token": "t", "pid": 1}))
        failed = run("events", "--data", str(tmp_path))
        server.shutdown()
    assert one_line(failed).startswith(f"the local Knative at {url} failed on events: 500")
