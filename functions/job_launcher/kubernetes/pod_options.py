"""Where and how a Job's pod runs, as a route says it: fields of Kubernetes and of Kueue. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"

_LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
LabelKey = Annotated[
    str,
    Field(
        pattern=r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?"
        r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
    ),
]
LabelValue = Annotated[str, Field(pattern=_LABEL_VALUE)]
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Toleration(_Strict):
    """A taint of nodes that the pod tolerates; without `key` all of them."""

    key: LabelKey | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: LabelValue = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _as_kubernetes(self) -> Toleration:
        if self.operator == "Exists" and self.value:
            raise ValueError("operator Exists takes no value")
        if self.key is None and self.operator != "Exists":
            raise ValueError("without key the operator is Exists")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise ValueError("toleration_seconds requires effect NoExecute")
        return self


class PodOptions(_Strict):
    """`runtime_class` such as gvisor; `queue` is a LocalQueue of Kueue, which starts the Job.

    `egress` is a list of host names of the proxy. `read_only` leaves only the workspace and /tmp
    to write to.
    """

    runtime_class: ObjectName | None = None
    queue: ObjectName | None = None
    node_selector: dict[LabelKey, LabelValue] = {}
    tolerations: list[Toleration] = Field([], max_length=20)
    egress: ObjectName | None = None
    read_only: bool = True

    def fields(self) -> dict[str, Any]:
        """Those of the pod's spec.

        >>> PodOptions(runtime_class="gvisor").fields()
        {'runtimeClassName': 'gvisor'}
        """
        found = {
            "runtimeClassName": self.runtime_class,
            "nodeSelector": self.node_selector,
            "tolerations": [_toleration(one) for one in self.tolerations],
        }
        return {name: value for name, value in found.items() if value}


def _toleration(one: Toleration) -> dict[str, Any]:
    found = {
        "key": one.key,
        "operator": one.operator,
        "value": one.value or None,
        "effect": one.effect,
        "tolerationSeconds": one.toleration_seconds,
    }
    return {name: value for name, value in found.items() if value is not None}
