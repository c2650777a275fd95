"""The installed version, looked up only when `--version` asks for it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


class ShowVersion(argparse.Action):
    """`--version`: print the program's name and version and exit with 0."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # a tenth of the time of a command

        print(parser.prog, version("dsm-on-knative"))
        parser.exit()
