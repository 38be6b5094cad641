"""NVFlare's Client API for a script of several processes in which rank 0 alone receives and sends.

In a script that calls `flare.init(rank=...)` and passes the received model on to the other ranks
itself, `import nvflare.client as flare` becomes `import tasuki.flare.rank0 as flare`. There
`receive` gives None at the other ranks, `is_running` is False, and `send` and `log` do nothing, as
in NVFlare. With `tasuki.flare` every rank receives.
"""

from __future__ import annotations

from tasuki.flare import (
    AnalyticsDataType,
    FLModel,
    ParamsType,
    api,
    clear,
    evaluate,
    get_config,
    get_job_id,
    get_site_name,
    get_task_name,
    init,
    is_evaluate,
    is_submit_model,
    is_train,
    shutdown,
    system_info,
    train,
)
from tasuki.flare.absent import absent

__all__ = [
    "AnalyticsDataType",
    "FLModel",
    "ParamsType",
    "clear",
    "evaluate",
    "get_config",
    "get_job_id",
    "get_site_name",
    "get_task_name",
    "init",
    "is_evaluate",
    "is_running",
    "is_submit_model",
    "is_train",
    "log",
    "receive",
    "send",
    "shutdown",
    "system_info",
    "train",
]


def is_running(ctx: object = None) -> bool:
    """At rank 0 blocks until there is a turn (True) or there will be no more; False at others."""
    return not _follows() and api.is_running()


def receive(timeout: float | None = None, ctx: object = None) -> FLModel | None:
    """The model to train; None at other ranks than 0."""
    return None if _follows() else api.receive(timeout)


def send(model: FLModel, clear_cache: bool = True, ctx: object = None) -> None:
    """Hand on rank 0's result."""
    if not _follows():
        api.send(model, clear_cache)


def log(
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
