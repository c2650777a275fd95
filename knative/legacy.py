"""Delete the objects of the former CronJobs: `python -m knative.legacy [--yes]`.

Without --yes a dry run: it prints the context and what it would delete.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from knative.deploy.kubectl import Kubectl

NAMESPACE = "dsm"

NAMED: tuple[tuple[str, str], ...] = (
    # the daily workflow
    ("cronjob", "orchestration-workflow"),
    ("job", "orchestration-workflow-manual-test"),
    ("configmap", "orchestration-workflow-scripts"),
    ("rolebinding", "orchestration-workflow-rb"),
    ("role", "orchestration-workflow-role"),
    ("serviceaccount", "orchestration-workflow-sa"),
    # its two jobs
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
# Created at run time, for each sprint and each manual run.
PREFIXES: tuple[tuple[str, str], ...] = (
    ("cronjob", "run-dailyscrum-"),
    ("job", "manual-scrum-run-"),
)


def legacy_objects(kubectl: Kubectl, namespace: str) -> Iterator[tuple[str, str]]:
    """Return kind and name of each legacy object in the cluster."""
    for kind in dict.fromkeys(kind for kind, _ in (*NAMED, *PREFIXES)):
        listed = kubectl("get", kind, "--namespace", namespace, "--output", "name").splitlines()
        for name in sorted(line.rpartition("/")[2] for line in listed):
            generated = any(k == kind and name.startswith(prefix) for k, prefix in PREFIXES)
            if generated or (kind, name) in NAMED:
                yield kind, name


def is_ours(kubectl: Kubectl, kind: str, name: str, namespace: str) -> bool:
    """Does it have this project's label? A Job `setup-backlog` may be of either."""
    label = "{.metadata.labels.app\\.kubernetes\\.io/part-of}"
    path = f"--output=jsonpath={label}"
    get = ("get", kind, name, "--namespace", namespace, "--ignore-not-found", path)
    return kubectl(*get).strip() == "dsm"


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is or would be deleted, one object a line; return 0."""
    parser = argparse.ArgumentParser(prog="python -m knative.legacy", description=__doc__)
    parser.add_argument("--namespace", default=NAMESPACE, help=f"default: {NAMESPACE}")
    parser.add_argument("--yes", action="store_true", help="delete them")
    parser.add_argument("--kubectl", default="kubectl", help="default: kubectl; options may follow")
    arguments = parser.parse_args(argv)
    kubectl, namespace = Kubectl(arguments.kubectl), arguments.namespace
    print(f"Namespace {namespace} of context {kubectl.context()}", flush=True)
    objects = [
        (kind, name)
        for kind, name in legacy_objects(kubectl, namespace)
        if not is_ours(kubectl, kind, name, namespace)
    ]
    for kind, name in objects:
        if arguments.yes:
            flags = ("--namespace", namespace, "--ignore-not-found", "--wait=true")
            kubectl("delete", kind, name, *flags)
        print(f"{'deleted' if arguments.yes else 'would delete'} {kind} {name}")
    if not objects:
        print(f"Nothing of the CronJobs is left in namespace {namespace}.")
    elif not arguments.yes:
        print("A dry run: `make cleanup-legacy YES=1` deletes them.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
