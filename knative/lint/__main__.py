"""`python -m knative.lint`."""

from knative.lint.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
