"""How a service logs: lines for people, or JSON for machines, on stderr."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

Form = Literal["console", "json"]


def configure(form: Form = "console", *, level: int = logging.INFO) -> None:
    """Set up structlog for this process. Called once, by a service's entry point."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks
            if form == "json"
            else structlog.processors.StackInfoRenderer(),
            structlog.processors.JSONRenderer()
            if form == "json"
            else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
