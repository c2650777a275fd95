"""`knative-local`: arguments in, exit code out, errors as one line each."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from knative.local.cli.parser import parser
from knative.local.errors import StartError, UsageError
from knative.local.manifests.problems import ManifestError


def main(argv: Sequence[str] | None = None, prog: str = "knative-local") -> int:
    """The exit code; every expected failure is one plain line on stderr."""
    arguments = parser(prog).parse_args(argv)
    module, _, name = arguments.run.partition(":")
    try:
        # Only what is asked for is imported: the help needs none of it.
        command = getattr(importlib.import_module(f"knative.local.cli.{module}"), name)
        return int(command(arguments))
    except (StartError, ManifestError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # of the output, as a full disk; commands tell their own
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at its end
        if isinstance(error, BrokenPipeError):
            return 0
        print(error, file=sys.stderr)
        return 1
