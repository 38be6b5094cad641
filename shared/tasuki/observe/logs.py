"""How a service logs: lines for people, or JSON for machines, on stderr."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import Processor

Form = Literal["console", "json"]


def configure(form: Form = "console", *, level: int = logging.INFO) -> None:
    """Set up structlog for this process. Called once, by a service's entry point."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(_for_machines() if form == "json" else _for_people()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


# Neither shows the values of variables in a traceback: one of them may be a password.


def _for_machines() -> tuple[Processor, ...]:
    in_words = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return structlog.processors.ExceptionRenderer(in_words), structlog.processors.JSONRenderer()


def _for_people() -> tuple[Processor, ...]:
    plain = structlog.dev.plain_traceback
    colors = sys.stderr.isatty()
    return (structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain),)
