"""What a Trigger's filter refuses, and which of the two filters counts."""

from __future__ import annotations

from typing import Any

import pytest

from knative.local.broker import BrokerSpec, Delivery, LocalBroker, TriggerSpec
from knative.local.broker.client import AiohttpSend
from knative.local.broker.filters import compile_filters
from knative.local.broker.spec import STOCK_DELIVERY, effective_delivery


def trigger(**given: Any) -> TriggerSpec:
    fields: dict[str, Any] = {
        "namespace": "dsm",
        "name": "report",
        "broker": "default",
        "filter": None,
        "filters": None,
        "subscriber_uri": "http://report.dsm.svc.cluster.local",
    }
    return TriggerSpec(**(fields | given))


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        pytest.param([{"nosuch": {}}], r"filters\[0\].nosuch is an unknown dialect", id="dialect"),
        pytest.param([{}], r"filters\[0\] must be an object", id="none"),
        pytest.param(
            [{"exact": {"a": "b"}, "prefix": {"a": "b"}}], "exactly one dialect", id="two"
        ),
        pytest.param(
            [{"exact": {"a": "b"}}, {"exact": {"A": "b"}}],
            r"filters\[1\].exact: attribute name 'A'",
            id="capital",
        ),
        pytest.param([{"exact": {"1a": "b"}}], "letter first", id="digit first"),
        pytest.param([{"exact": {"a": 5}}], "exact.a must be text, not 5", id="number"),
        pytest.param([{"exact": "a"}], "must map attribute names", id="no map"),
        pytest.param([{"all": {}}], "all must be a list", id="no list"),
        pytest.param(
            [{"not": {"any": [{"cesql": "a = "}]}}],
            r"filters\[0\].not.any\[0\].cesql: not valid CESQL",
            id="nested CESQL",
        ),
        pytest.param([{"cesql": 5}], "must be an expression in text", id="CESQL that is no text"),
    ],
)
def test_a_bad_filter_is_refused_with_trigger_and_field(
    filters: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        trigger(filters=filters)
    assert str(refused.value).startswith("trigger dsm/report: ")


def test_filters_take_precedence_over_filter() -> None:
    matches = compile_filters({"type": "a"}, [{"exact": {"type": "b"}}])
    assert matches({"type": "b"})
    assert not matches({"type": "a"})


@pytest.mark.parametrize("filters", [None, []], ids=["no filters", "an empty list"])
def test_nothing_asked_for_lets_everything_through(filters: list[Any] | None) -> None:
    assert compile_filters(None, filters)({"type": "a"})


def test_an_empty_list_of_filters_leaves_filter_in_force() -> None:
    assert not compile_filters({"type": "a"}, [])({"type": "b"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"subscriber_uri": "report"}, "subscriber is no absolute HTTP address"),
        (
            {"delivery": Delivery(dead_letter_uri="dead")},
            "delivery.deadLetterSink is no absolute HTTP address",
        ),
        ({"filter": {"Type": "a"}}, "filter.attributes: attribute name 'Type'"),
    ],
)
def test_a_bad_trigger_is_refused_with_a_reason(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trigger(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"retry": -1}, "delivery.retry must be 0 or more"),
        ({"backoff_policy": "sudden"}, "delivery.backoffPolicy must be"),
        ({"backoff_delay_s": -1.0}, "delivery.backoffDelay must not"),
        ({"timeout_s": 0.0}, "delivery.timeout must be above zero"),
        ({"format": "xml"}, "delivery.format must be json or binary"),
    ],
)
def test_a_bad_delivery_is_refused_with_a_reason(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Delivery(**given)


def test_a_trigger_without_its_broker_is_refused(tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="report: broker 'default' does not exist"):
        LocalBroker(tmp_path / "b.db", [BrokerSpec("dsm", "other")], [trigger()], AiohttpSend())


OWN = Delivery(retry=2, timeout_s=5.0)
BROKERS = Delivery(retry=7, timeout_s=9.0, dead_letter_uri="http://dead")


@pytest.mark.parametrize(
    ("own", "brokers", "effective"),
    [
        pytest.param(None, None, STOCK_DELIVERY, id="neither: the stock one"),
        pytest.param(None, BROKERS, BROKERS, id="only the broker's"),
        pytest.param(OWN, None, OWN, id="only its own"),
        pytest.param(
            OWN,
            BROKERS,
            Delivery(retry=2, timeout_s=5.0, dead_letter_uri="http://dead"),
            id="its own as a whole, with the broker's sink",
        ),
        pytest.param(
            Delivery(dead_letter_uri="http://mine"),
            BROKERS,
            Delivery(dead_letter_uri="http://mine"),
            id="its own sink alone: no retries",
        ),
    ],
)
def test_a_triggers_delivery_replaces_the_brokers(
    own: Delivery | None, brokers: Delivery | None, effective: Delivery
) -> None:
    assert effective_delivery(trigger(delivery=own), BrokerSpec("dsm", "b", brokers)) == effective
