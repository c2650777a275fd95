"""The clock fires PingSources as the mtping adapter does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from knative.local.broker.http import Answer, Headers
from knative.local.faults import Faults, Targets
from knative.local.manifests.sources import PingSource
from knative.local.ping_sources import Clock
from knative.local.timeline import Timeline
from tests.support import eventually


class Sink:
    """Answers with `statuses` in turn, the last one for ever."""

    def __init__(self, statuses: Sequence[int]) -> None:
        self.statuses = list(statuses)
        self.got: list[tuple[str, dict[str, str], bytes]] = []

    async def __call__(
        self, method: str, url: str, headers: Headers, body: bytes, timeout_s: float | None
    ) -> Answer:
        self.got.append((url, {k.decode(): v.decode() for k, v in headers}, body))
        return Answer(self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0])

    def sources(self) -> list[str]:
        return [headers["ce-source"].rpartition("/")[2] for _, headers, _ in self.got]


def named(name: str, schedule: str) -> PingSource:
    body = source(schedule).model_dump(by_alias=True)
    return PingSource.model_validate({**body, "metadata": {"name": name, "namespace": "dsm"}})


def source(schedule: str = "30 8 * * *", data: str = '{"a": 1}') -> PingSource:
    return PingSource.model_validate(
        {
            "apiVersion": "sources.knative.dev/v1",
            "kind": "PingSource",
            "metadata": {"name": "morning", "namespace": "dsm"},
            "spec": {
                "schedule": schedule,
                "contentType": "application/json",
                "data": data,
                "sink": {"uri": "http://sink.example/in"},
                "ceOverrides": {"extensions": {"schedule": "morning"}},
            },
        }
    )


async def test_a_tick_is_the_event_that_the_adapter_sends(tmp_path: Path) -> None:
    sink = Sink([202])
    moment = datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)
    timeline = Timeline(machine=moment.timestamp)
    clock = Clock(sink, tmp_path / "clock.json", timeline)
    tick = await clock.fire(source())
    ((url, headers, body),) = sink.got
    assert headers.pop("ce-requestedby") == "local", "this one a user fired"
    assert (url, body) == ("http://sink.example/in", b'{"a": 1}')
    assert headers == {
        "ce-specversion": "1.0",
        "ce-id": tick.id,
        "ce-type": "dev.knative.sources.ping",
        "ce-source": "/apis/v1/namespaces/dsm/pingsources/morning",
        "ce-time": "2026-01-02T03:04:05.6Z",
        "ce-schedule": "morning",
        "content-type": "application/json",
        "kn-namespace": "dsm",
    }


@pytest.mark.parametrize(
    ("statuses", "calls", "accepted"),
    [
        ([202], 1, True),
        ([503, 404, 202], 3, True),
        ([400], 1, False),
        ([500], 1, False),
        ([502], 6, False),
    ],
    ids=["accepted", "retried", "400 is final", "500 is final", "lost after five retries"],
)
async def test_the_sdks_retries(
    tmp_path: Path, statuses: list[int], calls: int, accepted: bool
) -> None:
    sink = Sink(statuses)
    tick = await Clock(sink, tmp_path / "clock.json", Timeline()).fire(source())
    assert (len(sink.got), tick.accepted) == (calls, accepted)
    assert len({headers["ce-id"] for _, headers, _ in sink.got}) == 1


async def test_a_schedule_fires_by_itself_when_it_is_due(tmp_path: Path) -> None:
    sink = Sink([202])
    clock = Clock(sink, tmp_path / "clock.json", Timeline())
    clock.put(source("* * * * * *"))
    clock.start()

    async def fired() -> int:
        return len(sink.got)

    assert await eventually(fired)
    await clock.close()
    assert "ce-requestedby" not in sink.got[0][1], "no user fired it"


def running_from(moment: datetime) -> Callable[[], float]:
    """A machine's clock: it shows `moment` now, and goes on from there."""
    began = time.monotonic()
    return lambda: moment.timestamp() + time.monotonic() - began


async def test_what_was_fired_is_not_fired_again_after_a_restart(tmp_path: Path) -> None:
    # The second clock starts with its time set back to just before the tick.
    memory = tmp_path / "clock.json"
    memory.write_text('{"dsm/morning": "2026-01-02T08:30:00+00:00"}')
    sink, now = Sink([202]), running_from(datetime(2026, 1, 2, 8, 29, 59, 800000, tzinfo=UTC))
    clock = Clock(sink, memory, Timeline(machine=now))
    clock.put(source("30 8 * * *"))
    clock.put(named("other", "30 8 * * *"))  # it is not on record that it was fired
    clock.start()

    async def other_fired() -> int:
        return len(sink.got)

    assert await eventually(other_fired)
    assert now() > datetime(2026, 1, 2, 8, 30, tzinfo=UTC).timestamp()
    await settled(clock)
    assert sink.sources() == ["other"]
    await clock.close()


async def test_a_dropped_schedule_fires_no_more(tmp_path: Path) -> None:
    sink = Sink([202])
    clock = Clock(sink, tmp_path / "clock.json", Timeline())
    clock.start()
    clock.put(source("* * * * * *"))
    clock.put(named("other", "* * * * * *"))
    clock.drop("dsm/morning")
    with pytest.raises(LookupError, match="there are: dsm/other"):
        clock.find("morning")

    async def twice() -> bool:
        return len(sink.got) >= 2

    await eventually(twice)
    assert set(sink.sources()) == {"other"}
    await clock.close()


async def test_what_is_due_during_a_long_delivery_is_fired_too(tmp_path: Path) -> None:
    answering = asyncio.Event()

    class SlowSink(Sink):
        async def __call__(
            self, method: str, url: str, headers: Headers, body: bytes, timeout_s: float | None
        ) -> Answer:
            answer = await super().__call__(method, url, headers, body, timeout_s)
            await answering.wait()
            return answer

    sink = SlowSink([202])
    clock = Clock(sink, tmp_path / "clock.json", Timeline())
    clock.put(source("* * * * * *"))
    clock.start()

    async def second_tick() -> bool:
        return len(sink.got) >= 2

    await eventually(second_tick)
    assert clock.busy
    await clock.close()
    assert not clock.busy


async def test_a_memory_that_cannot_be_written_does_not_stop_the_schedule(tmp_path: Path) -> None:
    sink = Sink([202])
    clock = Clock(sink, tmp_path / "no such folder" / "clock.json", Timeline())
    clock.put(source("* * * * * *"))
    clock.start()

    async def second_tick() -> bool:
        return len(sink.got) >= 2

    await eventually(second_tick)
    await clock.close()


async def settled(clock: Clock) -> None:
    async def idle() -> bool:
        return not clock.busy

    await eventually(idle)


async def test_an_extension_arrives_in_lower_case(tmp_path: Path) -> None:
    sink = Sink([202])
    await Clock(sink, tmp_path / "clock.json", Timeline()).fire(extended("scheduleName"))
    ((_, headers, _),) = sink.got
    assert headers["ce-schedulename"] == "x"


async def test_a_tick_that_would_replace_an_attribute_is_lost(tmp_path: Path) -> None:
    sink = Sink([202])
    tick = await Clock(sink, tmp_path / "clock.json", Timeline()).fire(extended("ID"))
    assert (tick.accepted, sink.got) == (False, [])


async def test_a_schedule_that_never_comes_has_no_next_time(tmp_path: Path) -> None:
    clock = Clock(Sink([202]), tmp_path / "clock.json", Timeline())
    clock.put(source("0 0 30 2 *"))
    clock.start()
    assert [times for _, times in clock.schedules()] == [[]]
    await clock.close()


def idle(name: str, interval: str) -> PingSource:
    body = named(name, "* * * * *").model_dump(by_alias=True)
    body["metadata"]["annotations"] = {"knative-local/idle-interval": interval}
    return PingSource.model_validate(body)


async def test_a_tick_with_an_idle_interval_is_left_out_while_nothing_happens(
    tmp_path: Path,
) -> None:
    sink = Sink([202])
    timeline = Timeline(datetime(2026, 11, 25, 8, 0, 30, tzinfo=UTC))
    clock = Clock(sink, tmp_path / "clock.json", timeline)
    for one in (idle("sweep", "15m"), named("hourly", "20 * * * *"), idle("dropped", "15m")):
        clock.put(one)
    clock.start()
    clock.drop("dsm/dropped")

    async def sent() -> None:
        await settled(clock)

    assert await timeline.advance(3600, sent) == 60 + 1
    times = [(h["ce-source"].rpartition("/")[2], h["ce-time"][11:16]) for _, h, _ in sink.got]
    assert times == [
        ("sweep", "08:01"),
        ("sweep", "08:16"),
        ("hourly", "08:20"),
        *[("sweep", f"08:{minute}") for minute in (20, 21, 22, 23, 38, 53)],
    ]
    clock.wake()
    await timeline.advance(120, sent)
    assert [h["ce-time"][11:16] for _, h, _ in sink.got][-2:] == ["09:01", "09:02"]
    timeline.close()


def test_an_idle_interval_that_is_no_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="idle-interval: 'often' is no duration like 90s"):
        idle("sweep", "often")


@pytest.mark.parametrize(
    ("fault", "statuses", "ids"),
    [("status=400 schedule=dsm/morning", [400], 0), ("twice schedule=*", [202], 2)],
    ids=["lost", "doubled"],
)
async def test_a_fault_of_a_schedule_loses_or_doubles_its_tick(
    tmp_path: Path, fault: str, statuses: list[int], ids: int
) -> None:
    sink, faults = Sink([202]), Faults(_no_process, Targets({}, {}))
    faults.add(fault)
    faults.add("status=400 schedule=dsm/other")
    faults.add("status=400")  # of the Broker's own calls
    clock = Clock(sink, tmp_path / "clock.json", Timeline(), faults)
    assert [(await clock.fire(source())).status] == statuses
    assert len({headers["ce-id"] for _, headers, _ in sink.got}) == len(sink.got) == ids


async def _no_process(host: str) -> None:
    raise AssertionError(f"nothing is killed: {host}")


def extended(name: str) -> PingSource:
    body = source().model_dump(by_alias=True)
    body["spec"]["ceOverrides"]["extensions"] = {name: "x"}
    return PingSource.model_validate(body)
