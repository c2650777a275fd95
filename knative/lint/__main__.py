"""`python -m knative.lint DIR`: the command `knative-lint`, from a checkout."""

import sys

from knative.lint.cli import command

if __name__ == "__main__":
    sys.exit(command())
