"""Structured logs on standard error: one JSON object (or one coloured line) per event, from our loggers and from libraries alike.

Events have fixed names and key=value facts. Values under a name such as ``token`` and token-shaped text anywhere are masked. This is a net below
careful callers, not a licence: user text never belongs into a line at INFO. Importing has no effect; each process calls ``configure_logging`` once.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from tandem.settings import LogSettings

MASK: Final = "**********"
_SECRET_NAME: Final = re.compile(r"secret|token|authorization|api_?key|password|passwd|pepper|cookie|credential", re.IGNORECASE)
_SECRET_TEXT: Final = re.compile(r"(tdm_[0-9a-z]{26}\.|whsec_|whsk_|[Bb]earer )[^\s\"',;]+|(://[^/\s:@]*:)[^\s@/]+(?=@)")
_CHATTY: Final = ("httpx", "httpcore", "httpx2", "httpcore2", "urllib3", "asyncio", "openai")
"""Libraries that log every request, with its URL, at INFO."""


def configure_logging(settings: LogSettings, process: str, stream: TextIO | None = None) -> None:
    """Route our logs and the standard library's to ``stream`` (standard error when None). Calling again replaces the former routing.

    Args:
        settings: Level and format.
        process: Name of this process, on every line.
        stream: Where to write.
    """
    stream = sys.stderr if stream is None else stream
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared = _shared_processors(process)
    renderer = _renderer(settings)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        # Off: a cached logger keeps the routing it was first used with, also after this function is called again.
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    # `shared` ends with masking; of a library's record the name must be taken before.
    foreign: list[Processor] = [structlog.stdlib.ExtraAdder(), _name_logger, *shared]
    finish: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=foreign, processors=finish))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines carry ``logger_name=name``; usable before ``configure_logging``, bound at each call."""
    return cast("FilteringBoundLogger", structlog.get_logger(logger_name=name))


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Processor: hide text under secret-sounding names and text that looks like a token; numbers (``input_tokens=7``) stay."""
    return cast("EventDict", _masked(event))


def _masked(value: object, name: str = "") -> object:
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {key: _masked(item, name if _SECRET_NAME.search(name) else str(key)) for key, item in items}
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(item, name) for item in cast("list[object]", value)]
    if _SECRET_NAME.search(name):
        return MASK
    return _SECRET_TEXT.sub(rf"\1\2{MASK}", value) if isinstance(value, str) else value


def _shared_processors(process: str) -> list[Processor]:
    def name_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        name_process,
        structlog.processors.StackInfoRenderer(),
        # A plain traceback: the richer ones print local variables, and with them secrets.
        structlog.processors.format_exc_info,
        mask_secrets,
    ]


def _name_logger(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    record = cast("logging.LogRecord", event["_record"])
    event["logger_name"] = record.name
    return event


def _renderer(settings: LogSettings) -> Processor:
    if settings.format == "json":
        return structlog.processors.JSONRenderer()
    console = structlog.dev.ConsoleRenderer(timestamp_key="time", exception_formatter=structlog.dev.plain_traceback, colors=sys.stderr.isatty())

    def render(logger: WrappedLogger, method: str, event: MutableMapping[str, Any]) -> str:
        return console(logger, method, event)

    return render


__all__ = ["MASK", "configure_logging", "get_logger", "mask_secrets"]
