"""A linter of Knative wiring: it finds what Kubernetes accepts and Knative then drops or repeats.

    directory -> reading.py -> tree.py -> rules/*.py -> linting.py -> report.py

It ignores kinds that it does not know, and calls a name missing only where everything that could
define it was read.
"""
