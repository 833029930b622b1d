"""Every Prometheus metric of Tandem, in one place. Label values come from closed sets: never ids, texts, URLs or model-made names."""

from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

TTFT_BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0)
DURATION_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

DECISION_BUCKETS_S: Final = (0.00005, 0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.005, 0.02)


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metric objects of one process and the registry that exposes them."""

    registry: CollectorRegistry
    requests: Counter
    """Finished requests by ``door`` (chat, responses, jobs, schedules, webhooks, threads, models, keys, decide, questions, feedback,
    operations, health), ``lane`` (fast, slow, none) and HTTP ``status``."""
    ttft: Histogram
    """Seconds from a request's first byte to the first token sent, by ``lane``."""
    duration: Histogram
    """Seconds of whole requests by ``door``."""
    in_flight: Gauge
    """Chat requests being answered."""
    decisions: Counter
    """Routing decisions by ``lane``."""
    bands: Counter
    """Routing decisions by ``band`` (fast, check, slow) and ``arm`` of a staged rollout (stable, candidate)."""
    overrides: Counter
    """Routing decisions by ``source``: who decided in place of the score, or none."""
    decision_time: Histogram
    """CPU seconds of a routing decision, by the ``backend`` that scored it (linear, readout, decision_model)."""
    policy_revision: Gauge
    """Revision of the routing that this process follows; in a dispatcher, that its rollout watch has seen."""
    scorers: Counter
    """Asked scoring backends by ``backend`` (readout, decision_model) and ``outcome``: answered, timeout, failed."""
    outcomes: Counter
    """What was learnt of decisions, by ``kind``: thumbs_up, thumbs_down, wrong_route, reask, escalated, check_passed, check_failed, answer_scored."""
    rollouts: Counter
    """What the rollout watch did by ``action``: advance, complete, auto_roll_back."""
    jobs: Gauge
    """Stored jobs by ``status``."""
    waiting: Gauge
    """Jobs that no worker holds and that have not ended, by ``state``: scheduled, queued, input_required, paused, budget_reached."""
    leases: Gauge
    """Jobs that workers hold; at most 200 are counted."""
    stuck: Gauge
    """Held jobs without any event for longer than a step may take."""
    lost_attempts: Gauge
    """Attempts of the stored jobs whose worker died or froze."""
    queue_age: Gauge
    """Seconds the oldest queued job has waited."""
    last_claim: Gauge
    """Seconds since a worker last claimed or renewed a lease; -1 when none ever did. The liveness of the workers."""
    hints: Counter
    """Wake-up hints by ``outcome``: sent, failed (Redis did not take it), skipped (circuit open)."""
    deliveries: Counter
    """Webhook attempts by ``outcome``: delivered, retried, given_up."""
    outbox: Gauge
    """Webhook deliveries by ``state``: pending, delivered, failed."""
    reaped: Counter
    """What the reaper did by ``action``: hinted, failed_job, expired_job, failed_turn."""
    turns: Counter
    """Turns of schedules by ``outcome``: taken, skipped (overlap, quota, another dispatcher was first), failed."""
    swept: Counter
    """Rows that the retention sweep deleted by ``kind``: jobs, events, effects, checkpoints, deliveries, keys, responses."""
    model_errors: Counter
    """Failed model calls by ``lane`` and error ``code``."""

    def render(self) -> bytes:
        """The text exposition, for ``/metrics``."""
        return generate_latest(self.registry)


def new_metrics(registry: CollectorRegistry | None = None) -> Metrics:
    """Fresh metrics in a registry of their own (with the process's CPU, memory and descriptors), or in ``registry``."""
    if registry is None:
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
    return Metrics(
        registry=registry,
        requests=Counter("tandem_requests", "Finished requests.", ["door", "lane", "status"], registry=registry),
        ttft=Histogram("tandem_ttft_seconds", "Time to first token.", ["lane"], buckets=TTFT_BUCKETS_S, registry=registry),
        duration=Histogram("tandem_request_duration_seconds", "Duration of requests.", ["door"], buckets=DURATION_BUCKETS_S, registry=registry),
        in_flight=Gauge("tandem_chat_in_flight", "Chat requests being answered.", registry=registry),
        decisions=Counter("tandem_router_decisions", "Routing decisions.", ["lane"], registry=registry),
        bands=Counter("tandem_router_bands", "Routing decisions by band.", ["band", "arm"], registry=registry),
        overrides=Counter("tandem_router_overrides", "Routing decisions by who overrode the score.", ["source"], registry=registry),
        decision_time=Histogram(
            "tandem_router_decision_seconds", "CPU time of a routing decision.", ["backend"], buckets=DECISION_BUCKETS_S, registry=registry
        ),
        policy_revision=Gauge("tandem_router_policy_revision", "Revision of the routing that is followed.", registry=registry),
        scorers=Counter("tandem_router_scorers", "Asked scoring backends.", ["backend", "outcome"], registry=registry),
        outcomes=Counter("tandem_router_outcomes", "What was learnt of decisions.", ["kind"], registry=registry),
        rollouts=Counter("tandem_router_rollouts", "What the rollout watch did.", ["action"], registry=registry),
        jobs=Gauge("tandem_jobs", "Stored jobs.", ["status"], registry=registry),
        waiting=Gauge("tandem_jobs_waiting", "Unfinished jobs that no worker holds.", ["state"], registry=registry),
        leases=Gauge("tandem_leases", "Jobs that workers hold; 200 are counted at most.", registry=registry),
        stuck=Gauge("tandem_jobs_stuck", "Held jobs in which nothing has happened for longer than a step may take.", registry=registry),
        lost_attempts=Gauge("tandem_lost_attempts", "Attempts of the stored jobs whose worker died or froze.", registry=registry),
        queue_age=Gauge("tandem_queue_age_seconds", "How long the oldest queued job has waited for a worker.", registry=registry),
        last_claim=Gauge("tandem_last_claim_seconds", "Time since a worker last showed life; -1 when none ever did.", registry=registry),
        hints=Counter("tandem_hints", "Wake-up hints to workers.", ["outcome"], registry=registry),
        deliveries=Counter("tandem_webhook_attempts", "Webhook delivery attempts.", ["outcome"], registry=registry),
        outbox=Gauge("tandem_webhook_deliveries", "Webhook deliveries.", ["state"], registry=registry),
        reaped=Counter("tandem_reaped", "Repairs by the reaper.", ["action"], registry=registry),
        turns=Counter("tandem_schedule_turns", "Turns of schedules.", ["outcome"], registry=registry),
        swept=Counter("tandem_swept", "Rows deleted by the retention sweep.", ["kind"], registry=registry),
        model_errors=Counter("tandem_model_errors", "Failed model calls.", ["lane", "code"], registry=registry),
    )


__all__ = ["DURATION_BUCKETS_S", "TTFT_BUCKETS_S", "Metrics", "new_metrics"]
