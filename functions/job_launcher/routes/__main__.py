"""`python -m functions.job_launcher.routes`: see check.py."""

import sys

from functions.job_launcher.routes.check import main

if __name__ == "__main__":
    sys.exit(main())
