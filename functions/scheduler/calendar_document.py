"""Make a calendar's document: of a country's holidays, or of those that project-service has.

uv run --no-project --with holidays functions/scheduler/calendar_document.py \\
    --name us-federal --version 2026.1 --country US --years 2026 2027
curl .../calendar/holidays | python -m functions.scheduler.calendar_document \\
    --name company --version 2026.1 --read -

The package `holidays` is no part of an installation, as it asks for an older python-dateutil than
other packages; so this file needs nothing else but the standard library.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, TextIO

WEEKEND = ("saturday", "sunday")


def main(
    arguments: Sequence[str] | None = None,
    *,
    lines: TextIO | None = None,
    out: TextIO | None = None,
) -> int:
    """Write a document; 1 where the holidays cannot be had, 2 for wrong usage."""
    out = out or sys.stdout
    given = _parser().parse_args(arguments)
    try:
        days = _read(given.read, lines or sys.stdin) if given.read else _of_country(given)
    except (OSError, ValueError, KeyError, ImportError, NotImplementedError) as error:
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    out.writelines(f"{line}\n" for line in document(given.name, given.version, days, given.weekend))
    return 0


def document(
    name: str, version: str, days: Mapping[date, str], weekend: Sequence[str] = ()
) -> Iterator[str]:
    """The lines of a calendar's YAML, in the order of the days.

    >>> print(*document("shop", "1", {date(2026, 12, 25): "Christmas"}), sep="\\n")
    name: "shop"
    version: "1"
    weekend: []
    holidays:
      2026-12-25: "Christmas"
    """
    yield f"name: {json.dumps(name)}"
    yield f"version: {json.dumps(version)}"
    yield f"weekend: [{', '.join(weekend)}]"
    yield "holidays:" if days else "holidays: {}"
    for day, holiday in sorted(days.items()):
        yield f"  {day}: {json.dumps(holiday, ensure_ascii=False)}"


def _read(path: str, lines: TextIO) -> dict[date, str]:
    """What `GET /calendar/holidays` of project-service answers."""
    if path == "-":
        found: list[Any] = json.load(lines)
    else:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  # a name of the command line
            found = json.load(file)
    return {date.fromisoformat(one["holiday_date"]): one["holiday_name"] for one in found}


def _of_country(given: argparse.Namespace) -> dict[date, str]:
    import importlib

    holidays: Any = importlib.import_module("holidays")
    found = holidays.country_holidays(
        given.country, subdiv=given.subdivision, years=given.years, language="en_US"
    )
    return dict(found.items())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--name", required=True, help="as a schedule's annotation names it")
    parser.add_argument("--version", required=True, help="stands in each reason, such as 2026.1")
    parser.add_argument("--weekend", nargs="*", default=WEEKEND, help="days that never run")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--country", help="ISO 3166 code, such as US")
    source.add_argument("--read", help="a file of project-service's holidays; - is standard input")
    parser.add_argument("--subdivision", help="a state or province of the country")
    parser.add_argument("--years", nargs="+", type=int, default=[date.today().year])
    return parser


if __name__ == "__main__":
    sys.exit(main())
