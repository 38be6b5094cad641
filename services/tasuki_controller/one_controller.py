"""One controller for a federation: reports go to one reader, and who gets none must not act."""

from __future__ import annotations

import asyncio

import structlog

from tasuki.errors import AnotherController
from tasuki.ports import Transport
from tasuki.wire import names

log = structlog.get_logger()

ASK_S = 0.5


async def be_alone(transport: Transport, *, patience_s: float) -> None:
    """Returns once nobody else reads the reports.

    One whose machine or network died counts as their reader until the broker gives it up, so that
    who follows it has to wait for that.

    Raises:
        AnotherController: somebody still does.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + patience_s
    is_told = False
    while await transport.is_read(names.REPORTS):
        if not is_told:
            log.warning("another controller reads the reports", waits_s=patience_s)
            is_told = True
        if loop.time() >= until:
            raise AnotherController(
                f"another controller reads {names.REPORTS}, and has for {patience_s:g} s: "
                "stop it, or do not start this one; a federation has one"
            )
        await asyncio.sleep(ASK_S)
