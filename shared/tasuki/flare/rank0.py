"""NVFlare's Client API for a script of several processes in which rank 0 alone receives and sends.

In a script that calls `flare.init(rank=...)` and passes the received model on to the other ranks
itself, `import nvflare.client as flare` becomes `import tasuki.flare.rank0 as flare`. There
`receive` gives None at the other ranks, `is_running` is False, and `send` and `log` do nothing, as
in NVFlare. With `tasuki.flare` every rank receives.
"""

from __future__ import annotations

from tasuki.flare import *  # noqa: F403 - all the rest is the same at every rank
from tasuki.flare import __all__ as _client
from tasuki.flare import api
from tasuki.flare.absent import absent
from tasuki.flare.model import FLModel

__all__ = [*_client]


def is_running(ctx: object = None) -> bool:  # type: ignore[no-redef]  # in place of the client's
    """At rank 0 blocks until there is a turn (True) or there will be no more; False at others."""
    return not _follows() and api.is_running()


def receive(  # type: ignore[no-redef]  # as above
    timeout: float | None = None, ctx: object = None
) -> FLModel | None:
    """The model to train; None at other ranks than 0."""
    return None if _follows() else api.receive(timeout)


def send(  # type: ignore[no-redef]  # as above
    model: FLModel, clear_cache: bool = True, ctx: object = None
) -> None:
    """Hand on rank 0's result."""
    if not _follows():
        api.send(model, clear_cache)


def log(  # type: ignore[no-redef]  # as above
    key: object = None,
    value: object = None,
    data_type: object = None,
    ctx: object = None,
    **kwargs: object,
) -> bool:
    """Show what rank 0 logs."""
    return not _follows() and api.log(key, value, data_type, **kwargs)


def _follows() -> bool:
    return api.initialized().follows


def __getattr__(name: str) -> object:
    raise absent(__name__, name)
