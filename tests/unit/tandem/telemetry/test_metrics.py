"""Metrics: names, labels, exposition; the clock."""

from dataclasses import fields
from datetime import timedelta

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from tandem.ports import Clock
from tandem.telemetry.clock import SystemClock
from tandem.telemetry.metrics import new_metrics


def test_two_sets_of_metrics_do_not_share_a_registry() -> None:
    first, second = new_metrics(), new_metrics()
    first.hints.labels("sent").inc()
    assert first.registry.get_sample_value("tandem_hints_total", {"outcome": "sent"}) == 1
    assert second.registry.get_sample_value("tandem_hints_total", {"outcome": "sent"}) is None


def test_metrics_can_join_a_given_registry() -> None:
    registry = CollectorRegistry()
    assert new_metrics(registry).registry is registry
    assert registry.get_sample_value("tandem_chat_in_flight") == 0


def test_every_metric_is_exposed_under_our_prefix() -> None:
    metrics = new_metrics()
    names = {family.name for family in text_string_to_metric_families(metrics.render().decode())}
    assert len({name for name in names if name.startswith("tandem_")}) == len(fields(metrics)) - 1
    assert "process_resident_memory_bytes" in names


def test_no_metric_is_labelled_by_an_id_or_a_text() -> None:
    allowed = {"door", "lane", "status", "outcome", "kind", "state", "action", "code", "band", "arm", "source", "backend"}
    metrics = new_metrics()
    labels = {label for field in fields(metrics) if field.name != "registry" for label in getattr(metrics, field.name)._labelnames}
    assert labels <= allowed


async def test_the_system_clock_is_aware_and_goes_forward() -> None:
    clock: Clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0)
    assert clock.now().utcoffset() == timedelta(0)
    assert clock.monotonic() >= before
