"""`python -m knative.local up|down|fire|send|events|services|dead-letters`."""

from __future__ import annotations

import sys
import warnings

if __name__ == "__main__":
    # The embedded PostgreSQL's library says so where there is no login session; it copes.
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
    from knative.local.cli.main import main

    sys.exit(main())
