"""What Tandem tells its operators: structured logs with bound ids, metrics, and the clock behind both."""

from tandem.telemetry.clock import SystemClock
from tandem.telemetry.context import bind
from tandem.telemetry.logging import configure_logging, get_logger
from tandem.telemetry.metrics import Metrics, new_metrics

__all__ = ["Metrics", "SystemClock", "bind", "configure_logging", "get_logger", "new_metrics"]
