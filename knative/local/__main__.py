"""`python -m knative.local up|down|clean|fire|send|events|services|dead-letters`."""

from __future__ import annotations

import sys

from knative.local.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
