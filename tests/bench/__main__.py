"""`python -m tests.bench [NAME ...]`: run the benches, print a table, write bench.json."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback
from pathlib import Path

from uvloop import run

from tests.bench.report import Row, show, write

HERE = Path(__file__).parent
MEASURES = "\nasync def run() -> list[Row]:"  # what makes a file here a bench
ALL = sorted(p.stem for p in HERE.glob("*.py") if MEASURES in p.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("name", nargs="*", choices=[*ALL, []], help=f"which: {', '.join(ALL)}")
    rows: list[Row] = []
    failed: list[str] = []
    for name in parser.parse_args().name or ALL:
        print(f"measuring {name} ...", flush=True)
        began = time.monotonic()
        try:
            rows += run(importlib.import_module(f"tests.bench.{name}").run())
        except Exception:  # the others are worth their time
            traceback.print_exc()
            failed.append(name)
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    show(rows)
    write(rows, Path("bench.json"))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
