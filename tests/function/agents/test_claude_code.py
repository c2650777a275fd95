"""The entry point for Claude Code, with a `claude` that prints what the real one prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from functions.agent_outputs.outputs import parse
from functions.agent_pod import claude_code
from functions.events.agent import AgentUsage
from tests.support import eventually

# Prints its next answer, after what it does, and remembers its arguments.
CLAUDE = """#!{python}
import json, os, pathlib, subprocess, sys, time
home = pathlib.Path(__file__).parent
with open(home / "calls.jsonl", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
quiet = os.environ.get("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC")
(home / "quiet").write_text(str(quiet))
number = len((home / "calls.jsonl").read_text().splitlines()) - 1
step = json.loads((home / "steps.json").read_text())[number]
for name, text in step.get("writes", {{}}).items():
    pathlib.Path(name).write_text(text)
if step.get("commits"):
    subprocess.run(["git", "add", "--all"], check=True)
    subprocess.run(["git", "commit", "--quiet", "-m", step["commits"]], check=True)
if "session" in step:
    # As the real one: a file of its own below HOME, by the working folder.
    place = os.getcwd().replace("/", "-").replace("_", "-").replace(".", "-")
    folder = pathlib.Path(os.environ["HOME"]) / ".claude/projects" / place
    file = folder / (step["session"] + ".jsonl")
    if "--resume" in sys.argv and not file.exists():
        sys.exit("No conversation found with session ID: " + step["session"])
    folder.mkdir(parents=True, exist_ok=True)
    with open(file, "a") as lines:
        lines.write("a turn\\n")
    step["prints"]["result"] = file.read_text()
for message in step.get("streams", []):
    print(json.dumps(message), flush=True)
if "hangs" in step:
    (home / "hangs").touch()
    time.sleep(60)
print(step["prints"] if isinstance(step["prints"], str) else json.dumps(step["prints"]))
sys.exit(step.get("exits", 0))
"""

DONE = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "api_error_status": None,
    "duration_ms": 81_204,
    "duration_api_ms": 79_110,
    "num_turns": 14,
    "result": "Kept the last item.\n\nThe slice cut it off.",
    "stop_reason": "end_turn",
    "session_id": "0b7f1d0e-6f0c-4d55-9b6f-0a4d9d6b6c11",
    "total_cost_usd": 0.4213,
    "usage": {
        "input_tokens": 1200,
        "cache_creation_input_tokens": 20_000,
        "cache_read_input_tokens": 30_000,
        "output_tokens": 4100,
        "server_tool_use": {"web_search_requests": 0},
        "service_tier": "standard",
    },
    "modelUsage": {"claude-sonnet-4-5": {"inputTokens": 1200, "costUSD": 0.4213}},
    "permission_denials": [],
    "terminal_reason": "completed",
    "uuid": "396d9fe5-84f8-4c2b-97db-aebeb7eecdb7",
}
USAGE = {
    "turns": 14,
    "input_tokens": 51_200,
    "output_tokens": 4100,
    "cost_usd": 0.4213,
    "session": DONE["session_id"],
}
NOTHING: dict[str, Any] = {
    "num_turns": 1,
    "total_cost_usd": 0,
    "usage": {"input_tokens": 0, "output_tokens": 0},
}
LIMITED = {
    **DONE,
    **NOTHING,
    "is_error": True,
    "api_error_status": 429,
    "result": "API Error: Request rejected (429) · This request would exceed your organization's"
    " rate limit. Please try again later.",
    "terminal_reason": "api_error",
}
MAX_TURNS = {
    **{name: value for name, value in DONE.items() if name != "result"},
    "subtype": "error_max_turns",
    "is_error": True,
    "errors": [],
}


@dataclass
class Image:
    """A workspace, and a machine with `claude`."""

    folder: Path

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def outputs(self) -> dict[str, Any]:
        text = (self.folder / "outputs.json").read_text()
        parse(text)  # as agent-outputs does
        found: dict[str, Any] = json.loads(text)
        return found

    @property
    def usage(self) -> dict[str, Any]:
        text = (self.folder / "usage.json").read_text()
        AgentUsage.model_validate_json(text)  # as agent-outputs does
        found: dict[str, Any] = json.loads(text)
        return found

    @property
    def calls(self) -> list[list[str]]:
        lines = (self.folder / "bin" / "calls.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def forgets(self) -> None:
        """Of the calls before."""
        (self.folder / "bin" / "calls.jsonl").unlink()

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.repository), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def starts(
        self,
        *steps: dict[str, Any],
        kind: str = "execute",
        args: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        (self.folder / "bin" / "steps.json").write_text(json.dumps(steps))
        variables = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "REPOSITORY_DIR": str(self.repository),
            "OUTPUTS_FILE": str(self.folder / "outputs.json"),
            "TASK_DIR": str(self.folder / "task"),
            "BRANCH": "agent/42",
            "JOB_KIND": kind,
            "SESSION_FILE": str(self.folder / "session"),
            "USAGE_FILE": str(self.folder / "usage.json"),
            "EVENT_TYPE": "com.github.issue.labeled",
            "CLAUDE_WAIT_S": "0",
            **(environ or {}),
        }
        return subprocess.Popen(
            [sys.executable, "-I", claude_code.__file__, *args],
            env=variables,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(
        self,
        *steps: dict[str, Any],
        kind: str = "execute",
        args: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        process = self.starts(*steps, kind=kind, args=args, environ=environ)
        printed, _ = process.communicate(timeout=30)
        return process.returncode, printed


@pytest.fixture
def image(tmp_path: Path) -> Image:
    for name in ("bin", "task", "repository"):
        (tmp_path / name).mkdir()
    (tmp_path / "task" / "task.md").write_text("# The basket forgets\n\nMend it.\n")
    claude = tmp_path / "bin" / "claude"
    claude.write_text(CLAUDE.format(python=sys.executable))
    claude.chmod(0o755)
    made = Image(tmp_path)
    made.git("init", "--quiet", "--initial-branch=agent/42")
    made.git("config", "user.name", "dsm-agent")
    made.git("config", "user.email", "dsm-agent@example.com")
    (made.repository / "basket.py").write_text("items[:-1]\n")
    made.git("add", "--all")
    made.git("commit", "--quiet", "-m", "Begin")
    return made


@pytest.mark.parametrize("commits", ["Keep the last item", ""], ids=["committed", "left"])
def test_its_work_becomes_a_pull_request(image: Image, commits: str) -> None:
    step = {"writes": {"basket.py": "items\n"}, "commits": commits, "prints": DONE}
    code, printed = image.run(step, args=("--max-turns", "40"))

    assert code == 0, printed
    assert image.outputs == {
        "pull_request": {"title": "The basket forgets", "body": DONE["result"]},
        "summary": "Kept the last item.",
        "usage": USAGE,
    }
    assert image.git("log", "--format=%s", "-1") == (commits or "The basket forgets")
    assert image.git("status", "--porcelain") == ""
    [call] = image.calls
    assert call[call.index("--permission-mode") + 1] == "bypassPermissions"
    assert call[call.index("--output-format") + 1] == "stream-json"
    assert call[-2:] == ["--max-turns", "40"]
    assert (image.folder / "bin" / "quiet").read_text() == "1"


def test_what_the_group_has_left_today_is_its_limit(image: Image) -> None:
    assert image.run({"prints": DONE}, environ={"BUDGET_USD": "8.75"})[0] == 0
    [call] = image.calls
    assert call[-2:] == ["--max-budget-usd", "8.75"]


def test_a_run_after_a_limit_of_the_model_may_use_what_the_one_before_has_left(
    image: Image,
) -> None:
    begun = {**LIMITED, "num_turns": 3, "total_cost_usd": 1.5}
    work = {"writes": {"basket.py": "items\n"}, "prints": DONE}
    code, printed = image.run({"prints": begun, "exits": 1}, work, environ={"BUDGET_USD": "2.00"})
    assert code == 0, printed
    limits = [call[call.index("--max-budget-usd") + 1] for call in image.calls]
    assert limits == ["2.00", "0.50"]
    assert image.usage["cost_usd"] == pytest.approx(1.5 + 0.4213)


def test_without_anything_left_there_is_no_further_run(image: Image) -> None:
    begun = {**LIMITED, "num_turns": 3, "total_cost_usd": 2.0}
    code, printed = image.run({"prints": begun, "exits": 1}, environ={"BUDGET_USD": "2.00"})
    assert (code, "the Job's budget of $2.00 is used up" in printed) == (1, True), printed
    assert len(image.calls) == 1
    assert image.usage["cost_usd"] == 2.0


@pytest.mark.parametrize("budget", ["14500", "11100"])
def test_it_is_ended_once_the_tokens_that_it_may_use_are_used(image: Image, budget: str) -> None:
    streams = [
        message("a", input_tokens=1000, cache_read_input_tokens=10_000, output_tokens=100),
        message("b", input_tokens=3000, output_tokens=400),
    ]
    step = {"writes": {"basket.py": "half\n"}, "streams": streams, "hangs": True, "prints": DONE}
    code, printed = image.run(step, environ={"BUDGET_TOKENS": budget})
    assert (code, "the Job's budget of tokens is used up" in printed) == (1, True), printed
    used = image.usage["input_tokens"] + image.usage["output_tokens"]
    assert used == int(budget)
    assert image.git("log", "--format=%s", "-1") == "Work in progress: The basket forgets"


def test_without_tokens_left_there_is_no_further_run(image: Image) -> None:
    begun = {**LIMITED, "usage": {"input_tokens": 900, "output_tokens": 100}}
    code, printed = image.run({"prints": begun, "exits": 1}, environ={"BUDGET_TOKENS": "1000"})
    assert (code, "the Job's budget of tokens is used up" in printed) == (1, True), printed
    assert len(image.calls) == 1
    assert image.run({"prints": DONE}, {"prints": DONE}, environ={"BUDGET_TOKENS": "1000"})[0] == 0


def message(id: str, **usage: int) -> dict[str, Any]:
    return {"type": "assistant", "message": {"id": id, "usage": usage}}


async def test_what_it_has_used_is_known_while_it_works_and_after_it_was_stopped(
    image: Image,
) -> None:
    """A message comes once for each of its blocks, with all that it has used by then."""
    streams = [
        message("a", input_tokens=1000, cache_read_input_tokens=10_000, output_tokens=10),
        message("a", input_tokens=1000, cache_read_input_tokens=10_000, output_tokens=100),
        message("b", input_tokens=3000, output_tokens=400),
    ]
    process = image.starts(
        {"streams": streams, "hangs": True, "prints": DONE},
        environ={"CLAUDE_PRICES": "10,100"},
    )

    async def is_known() -> bool:
        file = image.folder / "usage.json"
        return file.exists() and image.usage["output_tokens"] == 500

    await eventually(is_known)
    while_it_works = image.usage
    assert while_it_works == {
        "turns": 2,
        "input_tokens": 14_000,
        "output_tokens": 500,
        "cost_usd": pytest.approx((4000 + 1000) * 10e-6 + 500 * 100e-6),
    }
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 1
    assert image.usage == while_it_works


def test_without_a_change_it_says_why(image: Image) -> None:
    assert image.run({"prints": DONE})[0] == 0
    assert image.outputs == {"nothing_to_do": DONE["result"], "usage": USAGE}


def test_a_review_is_a_comment(image: Image) -> None:
    assert image.run({"prints": DONE}, kind="review")[0] == 0
    assert image.outputs == {"comment": DONE["result"], "usage": USAGE}


def test_it_goes_on_from_what_an_earlier_run_has_left(image: Image) -> None:
    """The commits of that run are work, also where this one adds none."""
    assert image.run({"prints": DONE})[0] == 0
    assert "An earlier run" not in image.calls[0][1]
    assert (image.folder / "session").read_text().strip() == DONE["session_id"]

    (image.repository / "basket.py").write_text("items\n")
    image.git("commit", "--quiet", "--all", "-m", "Keep the last item")
    image.forgets()
    assert image.run({"prints": DONE})[0] == 0
    assert "An earlier run" in image.calls[0][1]
    assert "pull_request" in image.outputs


def test_in_the_next_pod_it_goes_on_in_its_session(image: Image) -> None:
    """Its files are in the folder that is kept, which is all that the next pod's home has."""
    environ = {"STATE_DIR": str(image.folder / "state")}
    session = DONE["session_id"]
    step = {"prints": dict(DONE), "session": session}
    assert image.run(step, environ=environ)[0] == 0
    assert "--resume" not in image.calls[0]

    (image.folder / ".claude" / "projects").unlink()
    image.forgets()
    assert image.run(step, environ=environ)[0] == 0
    assert image.calls[0][-2:] == ["--resume", session]
    assert image.outputs["nothing_to_do"] == "a turn\na turn"


@pytest.mark.parametrize("named", ["0b7f", "../../outputs", "--debug", ""])
def test_without_its_session_it_begins_a_new_one(image: Image, named: str) -> None:
    (image.folder / "session").write_text(named)
    environ = {"STATE_DIR": str(image.folder / "state")}
    assert image.run({"prints": DONE}, environ=environ)[0] == 0
    assert "--resume" not in image.calls[0]


def test_where_claude_does_not_take_its_session_it_begins_a_new_one(image: Image) -> None:
    environ = {"STATE_DIR": str(image.folder / "state")}
    session = DONE["session_id"]
    assert image.run({"prints": dict(DONE), "session": session}, environ=environ)[0] == 0
    image.forgets()
    problem = f"No conversation found with session ID: {session}"
    refused = {**MAX_TURNS, "subtype": "error_during_execution", "errors": [problem]}
    code, printed = image.run({"prints": refused}, {"prints": DONE}, environ=environ)
    assert code == 0, printed
    assert ["--resume" in call for call in image.calls] == [True, False]


def test_where_a_session_is_lost_after_a_limit_the_task_is_asked_for_again(image: Image) -> None:
    problem = f"No conversation found with session ID: {LIMITED['session_id']}"
    begun = {**LIMITED, "num_turns": 3, "usage": {"input_tokens": 10, "output_tokens": 100}}
    refused = {**MAX_TURNS, "subtype": "error_during_execution", "errors": [problem]}
    code, printed = image.run({"prints": begun, "exits": 1}, {"prints": refused}, {"prints": DONE})
    assert code == 0, printed
    first, second, third = (call[1] for call in image.calls)
    assert (second, third) == ("Go on.", first)


@pytest.mark.parametrize("place", ["repository", ""], ids=["clone", "no-clone"])
def test_whoever_asks_elsewhere_gets_a_report(image: Image, place: str) -> None:
    environ = {
        "EVENT_TYPE": "com.grafana.alert.firing",
        "REPOSITORY_DIR": str(image.repository) if place else "",
    }
    assert image.run({"prints": DONE}, kind="assist", environ=environ)[0] == 0
    assert image.outputs == {"report": DONE["result"], "usage": USAGE}
    assert ("agent/42" in image.calls[0][1]) is bool(place)


def test_a_limit_of_the_model_waits_and_goes_on(image: Image) -> None:
    """Before it has begun with the same prompt; later in its session."""
    begun = {**LIMITED, "num_turns": 3, "usage": {"input_tokens": 10, "output_tokens": 100}}
    older = {
        **{name: value for name, value in LIMITED.items() if name != "api_error_status"},
        "result": 'API Error: 529 {"type":"error","error":{"type":"overloaded_error"}}',
    }
    work = {"writes": {"basket.py": "items\n"}, "prints": DONE}
    code, printed = image.run(
        {"prints": LIMITED, "exits": 1}, {"prints": older}, {"prints": begun, "exits": 1}, work
    )

    assert code == 0, printed
    assert image.outputs["usage"] == {
        **USAGE,
        "turns": 1 + 1 + 3 + 14,
        "input_tokens": 51_210,
        "output_tokens": 4200,
    }
    first, second, third, fourth = image.calls
    assert first == second == third
    assert fourth[:2] == ["-p", "Go on."]
    assert fourth[fourth.index("--resume") + 1] == LIMITED["session_id"]
    assert printed.count("the model has no room") == 3


@pytest.mark.parametrize(
    ("prints", "because"),
    [
        (MAX_TURNS, "claude has not finished: error_max_turns"),
        ({**LIMITED, "api_error_status": 401, "result": "Invalid API key"}, "Invalid API key"),
        ("Segmentation fault", "claude exited with 1: Segmentation fault"),
    ],
    ids=["turns", "key", "crash"],
)
def test_a_failure_commits_and_asks_for_nothing(image: Image, prints: object, because: str) -> None:
    step = {"writes": {"basket.py": "half\n"}, "prints": prints, "exits": 1}
    code, printed = image.run(step)
    assert (code, because in printed) == (1, True), printed
    assert not (image.folder / "outputs.json").exists()
    assert image.git("log", "--format=%s", "-1") == "Work in progress: The basket forgets"


async def test_at_its_deadline_it_commits_and_ends(image: Image) -> None:
    process = image.starts({"writes": {"basket.py": "half\n"}, "hangs": True, "prints": DONE})

    async def hangs() -> bool:
        return (image.folder / "bin" / "hangs").exists()

    await eventually(hangs)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=30)
    assert (process.returncode, "it was stopped" in printed) == (1, True), printed
    assert image.git("log", "--format=%s", "-1") == "Work in progress: The basket forgets"


def test_a_machine_without_claude_says_so(image: Image) -> None:
    (image.folder / "bin" / "claude").unlink()
    code, printed = image.run({"prints": DONE})
    assert (code, "claude cannot be started: No such file" in printed) == (1, True), printed
