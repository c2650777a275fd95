"""The command line of the linter.

The rules are imported after the arguments are parsed, so that `--help` is fast.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from knative.lint.finding import RULES, SEVERITIES, Rule
from knative.version import ShowVersion

if TYPE_CHECKING:
    from knative.lint.reading import Reading

EXAMPLES = """examples:
  knative-lint k8s/overlays/production          findings, each with why and fix
  helm template . | knative-lint -              whatever prints YAML
  knative-lint DIR --sarif > lint.sarif         for code scanning
  knative-lint --explain KN502                  what a rule means

Exit codes: 0 nothing at or above --fail-on, 1 something, 2 wrong usage or a fault of the linter."""


def command() -> int:
    """Run `main`; a closed pipe is no error."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    return code


def main(arguments: list[str] | None = None) -> int:
    """Return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    from knative.lint.linting import lint
    from knative.lint.report import as_json, as_sarif, as_text

    if options.rules:
        print("\n".join(f"{r.id}  {r.severity:7}  {r.title}" for r in RULES.values()))
        return 0
    if options.explain:
        return _explain(parser, options.explain)
    for name in (*(options.select or ()), *(options.ignore or ())):
        if not any(rule.startswith(name) for rule in RULES):
            parser.error(f"no rule begins with {name!r}; --rules lists them")
    if [] in (options.select, options.ignore):
        parser.error("--select and --ignore want names of rules; --rules lists them")
    if not options.target:
        parser.error("name a directory, a file, or - for standard input")
    try:
        readings = [one for target in options.target for one in _readings(target)]
    except (FileNotFoundError, PermissionError) as error:
        parser.error(str(error))
    except Exception:
        return _fault()
    objects = sum(len(one.manifests) + one.others for one in readings)
    if not objects and not any(one.broken or one.unread or one.unbuilt for one in readings):
        parser.error(f"there is no Kubernetes object in {' '.join(options.target)}")
    select, ignore = tuple(options.select or ()), tuple(options.ignore or ())
    try:
        findings = lint(
            readings,
            lambda rule: (not select or rule.startswith(select)) and not rule.startswith(ignore),
        )
    except Exception:
        return _fault()
    if options.sarif:
        print(as_sarif(findings))
    else:
        print(as_json(findings) if options.json else as_text(findings, objects))
    failing = SEVERITIES[: SEVERITIES.index(options.fail_on) + 1]
    return int(any(finding.severity in failing for finding in findings))


def _fault() -> int:
    traceback.print_exc()
    print("this is a fault of the linter, not of the manifests", file=sys.stderr)
    return 2


def _readings(target: str) -> list[Reading]:
    from knative.lint.reading import read, read_text

    return [read_text(sys.stdin.buffer.read())] if target == "-" else read(Path(target))


def _explain(parser: argparse.ArgumentParser, name: str) -> int:
    rule: Rule | None = RULES.get(name.upper())
    if rule is None:
        parser.error(f"there is no rule {name!r}; --rules lists them")
    print(f"{rule.id} ({rule.severity}): {rule.title}\n\nWhy  {rule.why}\nFix  {rule.fix}")
    return 0


def _names(text: str) -> list[str]:
    return [name.strip().upper() for name in text.split(",") if name.strip()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="knative-lint",
        description="Checks the wiring of Knative manifests.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=ShowVersion)
    parser.add_argument(
        "target", nargs="*", metavar="DIR", help="a kustomization, a folder of YAML, a file, or -"
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="findings as a JSON list")
    shape.add_argument("--sarif", action="store_true", help="findings as SARIF 2.1.0")
    parser.add_argument("--select", type=_names, metavar="RULES", help="only these: KN501,KN2")
    parser.add_argument("--ignore", type=_names, metavar="RULES", help="not these")
    parser.add_argument(
        "--fail-on", choices=SEVERITIES, default="warning", help="exit 1 from here on (warning)"
    )
    parser.add_argument("--explain", metavar="RULE", help="what a rule means, and the fix")
    parser.add_argument("--rules", action="store_true", help="list all rules")
    return parser
