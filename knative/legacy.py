"""Delete what the CronJobs left in the cluster: `python -m knative.legacy [--yes]`.

A dry run, unless --yes is given: it tells the cluster, prints what it would delete, and touches
nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from knative.deploy.kubectl import Kubectl

NAMESPACE = "dsm"

# By name, as their own documents list them.
NAMED: tuple[tuple[str, str], ...] = (
    # the workflow of the morning
    ("cronjob", "orchestration-workflow"),
    ("job", "orchestration-workflow-manual-test"),
    ("configmap", "orchestration-workflow-scripts"),
    ("rolebinding", "orchestration-workflow-rb"),
    ("role", "orchestration-workflow-role"),
    ("serviceaccount", "orchestration-workflow-sa"),
    # the two jobs that it was made of
    ("cronjob", "generate-sprint-report"),
    ("job", "generate-sprint-report-manual-test"),
    ("configmap", "generate-sprint-report-script"),
    ("rolebinding", "sprint-report-generator-rb"),
    ("role", "sprint-report-generator-role"),
    ("serviceaccount", "sprint-report-generator-sa"),
    ("cronjob", "trigger-completed-orchestration"),
    ("job", "trigger-completed-orchestration-manual-test"),
    ("configmap", "trigger-completed-orchestration-script"),
    ("configmap", "run-orchestration-cycle-script"),
    ("rolebinding", "completed-orchestration-trigger-rb"),
    ("role", "completed-orchestration-trigger-role"),
    ("serviceaccount", "completed-orchestration-trigger-sa"),
    # the daily scrum
    ("cronjob", "run-dailyscrum"),
    ("configmap", "run-dailyscrum"),
    # the sample backlog
    ("job", "setup-backlog"),
    ("configmap", "backlog-setup-scripts"),
)
# Made at run time, for each sprint and each manual run.
BEGINNING: tuple[tuple[str, str], ...] = (
    ("cronjob", "run-dailyscrum-"),
    ("job", "manual-scrum-run-"),
)


def found(kubectl: Kubectl, namespace: str) -> Iterator[tuple[str, str]]:
    """Kind and name of all that the cluster still has."""
    for kind in dict.fromkeys(kind for kind, _ in (*NAMED, *BEGINNING)):
        listed = kubectl("get", kind, "--namespace", namespace, "--output", "name").splitlines()
        for name in sorted(line.rpartition("/")[2] for line in listed):
            made = any(k == kind and name.startswith(start) for k, start in BEGINNING)
            if made or (kind, name) in NAMED:
                yield kind, name


def is_ours(kubectl: Kubectl, kind: str, name: str, namespace: str) -> bool:
    """Is it ours? The Job `setup-backlog` may be: then it carries our label."""
    label = "{.metadata.labels.app\\.kubernetes\\.io/part-of}"
    path = f"--output=jsonpath={label}"
    asked = ("get", kind, name, "--namespace", namespace, "--ignore-not-found", path)
    return kubectl(*asked).strip() == "dsm"


def main(argv: Sequence[str] | None = None) -> int:
    """0; what was or would be deleted is printed, one a line."""
    parser = argparse.ArgumentParser(prog="python -m knative.legacy", description=__doc__)
    parser.add_argument("--namespace", default=NAMESPACE, help=f"default: {NAMESPACE}")
    parser.add_argument("--yes", action="store_true", help="delete them")
    parser.add_argument("--kubectl", default="kubectl", help="default: kubectl; options may follow")
    arguments = parser.parse_args(argv)
    kubectl, namespace = Kubectl(arguments.kubectl), arguments.namespace
    print(f"Namespace {namespace} of context {kubectl.context()}", flush=True)
    left = [(k, n) for k, n in found(kubectl, namespace) if not is_ours(kubectl, k, n, namespace)]
    for kind, name in left:
        if arguments.yes:
            flags = ("--namespace", namespace, "--ignore-not-found", "--wait=true")
            kubectl("delete", kind, name, *flags)
        print(f"{'deleted' if arguments.yes else 'would delete'} {kind} {name}")
    if not left:
        print(f"Nothing of the CronJobs is left in namespace {namespace}.")
    elif not arguments.yes:
        print("A dry run: `make cleanup-legacy YES=1` deletes them.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
