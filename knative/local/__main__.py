"""`python -m knative.local`: the command `knative-local`, from a checkout."""

from __future__ import annotations

import sys

from knative.local.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
