"""A service that is asked to end finishes what it has, unless waiting for that is in vain."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

from structlog.testing import capture_logs

from tasuki.lifetime import live


def ended(*, is_in_vain: bool) -> tuple[int, list[str]]:
    """Of a service that ends a while after it was asked to, if it is let."""

    async def run() -> int:
        asked, hopeless = asyncio.Event(), asyncio.Event()

        async def serve() -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            await asked.wait()
            if is_in_vain:
                hopeless.set()
                await asyncio.Event().wait()

        def drain() -> bool:
            asked.set()
            return True

        async def in_vain() -> None:
            await hopeless.wait()

        async with asyncio.timeout(30):
            return await live(serve(), drain=drain, in_vain=in_vain)

    with capture_logs() as lines:
        code = asyncio.run(run())
    return code, [line["event"] for line in lines]


def test_it_ends_when_it_is_done() -> None:
    code, said = ended(is_in_vain=False)
    assert (0, "ended") == (code, said[-1])


def test_it_ends_when_waiting_is_in_vain_and_says_so() -> None:
    """Bug: a site that its broker had shut out was there until it was killed."""
    code, said = ended(is_in_vain=True)
    assert 0 == code
    assert any("cannot be finished" in line for line in said)


def test_a_service_writes_no_core_dump() -> None:
    asks = "import resource as r; from tasuki import lifetime; lifetime.write_no_core_dumps();"
    asks += "print(r.getrlimit(r.RLIMIT_CORE)[0])"
    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert "0" == done.stdout.strip()
