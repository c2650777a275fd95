"""The `dsm` command: its subcommands are the command lines of this project.

Each subcommand has its own program, options and exit codes.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from knative.version import ShowVersion

_LOCAL, _RECEIVER = "knative.local.cli.main", "functions.webhook_receiver.cli.commands"

# Command: its module, its first arguments, its help. Modules are imported on use only.
COMMANDS = {
    "run": ("knative.demo.__main__", ["--front", "dsm/orchestrator"], "the demo, on this machine"),
    "task": (_RECEIVER, ["task"], "tasks for agents: create, follow, status, retry, cancel"),
    "jobs": (_RECEIVER, ["jobs"], "Kubernetes Jobs: list, get, logs, cancel"),
    "deliveries": (_RECEIVER, ["deliveries"], "webhook deliveries: list, redeliver"),
    "schedules": ("functions.scheduler.cli", [], "schedules: next, list, show, pause, backfill"),
    "sagas": ("functions.orchestrator.cli", [], "sagas: list, execute, runs, undo, retry, pause"),
    "fire": (_LOCAL, ["fire"], "fire a schedule now"),
    "github-app": ("knative.github_app", [], "create the GitHub App by one click"),
    "send": (_LOCAL, ["send"], "send an event to the broker"),
    "events": (_LOCAL, ["events"], "events and their deliveries"),
    "services": (_LOCAL, ["services"], "the functions' processes"),
    "dead-letters": (_LOCAL, ["dead-letters"], "events whose delivery failed"),
}

EXAMPLES = """examples:
  dsm run --once                                      run the demo, then end
  dsm fire sprint-report                              fire a schedule of the running `dsm run`
  dsm events --type io.dsm.sprint.completed.v1        list events of one type
  dsm task create 'Mend the login' --service auth --wait 600
  dsm jobs list --state failed --json                 for programs

`dsm COMMAND --help` shows the options of a command. Exit codes: 0 done, 1 refused or failed,
2 wrong usage, 130 interrupted."""


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code of the command."""
    listed = "\n".join(f"  {name:14}{help}" for name, (_, _, help) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="dsm",
        description="The Digital Scrum Master on Knative.",
        epilog=f"commands:\n{listed}\n\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=ShowVersion)
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="one of those below")
    rest = parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    rest.required = False
    given = parser.parse_args(argv)
    module, prefix, _ = COMMANDS[given.command]
    prog = f"dsm {given.command}" if given.command in ("run", "schedules", "sagas") else "dsm"
    return int(importlib.import_module(module).main([*prefix, *given.arguments], prog=prog))


if __name__ == "__main__":
    sys.exit(main())
