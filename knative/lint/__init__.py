"""A linter of Knative wiring: what Kubernetes accepts and what then quietly goes wrong.

    directory -> reading.py -> tree.py -> rules/*.py -> linting.py -> report.py

It reports only what it understands: kinds that it does not know are left alone, and a name is
missing only where everything that could hold it has been read.
"""
