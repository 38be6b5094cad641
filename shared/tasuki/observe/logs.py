"""How a service logs: lines for people, or JSON for machines, on stderr."""

from __future__ import annotations

import io
import logging
import sys
from functools import partial
from typing import Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from tasuki.observe.outlet import Outlet
from tasuki.observe.printable import printable
from tasuki.wire.strict_json import json_text

Form = Literal["console", "json"]


def configure(form: Form = "console", *, level: int = logging.INFO) -> Outlet:
    """Set up structlog for this process. Called once, by a service's entry point.

    Returns where the log goes: it knows how many lines could not be written.
    """
    outlet = Outlet(sys.stderr)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            partial(_tell_of_lost, outlet),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(_for_machines() if form == "json" else _for_people()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", outlet)),
        cache_logger_on_first_use=False,
    )
    return outlet


def _tell_of_lost(outlet: Outlet, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The next line that can be written says how many were not."""
    if outlet.lost > outlet.told:
        event["lines_lost_before"] = outlet.lost - outlet.told
    return event


# Neither shows the values of variables in a traceback: one of them may be a password.


def _for_machines() -> tuple[Processor, ...]:
    in_words = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return (
        structlog.processors.ExceptionRenderer(in_words),
        structlog.processors.JSONRenderer(serializer=json_text),
    )


def _for_people() -> tuple[Processor, ...]:
    colors = sys.stderr.isatty()
    return _harmless, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_traceback)


def _harmless(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """What others said may not steer the terminal; JSON spells it out by itself."""
    return {
        key: printable(value) if isinstance(value, str) else value for key, value in event.items()
    }


def _traceback(out: TextIO, exc_info: ExcInfo) -> None:
    plain = io.StringIO()
    structlog.dev.plain_traceback(plain, exc_info)
    out.write(printable(plain.getvalue()))
