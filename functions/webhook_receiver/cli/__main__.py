"""`python -m functions.webhook_receiver.cli`: see commands.py."""

import sys

from functions.webhook_receiver.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
