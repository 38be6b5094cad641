"""NVFlare's Client API, for training scripts that were written for it.

In such a script `import nvflare.client as flare` becomes `import tasuki.flare as flare`:

    flare.init()
    while flare.is_running():
        input_model = flare.receive()
        net.load_state_dict(input_model.params)
        ...
        flare.send(flare.FLModel(params=net.state_dict(), metrics={"accuracy": accuracy}))
"""

from tasuki.flare.absent import absent
from tasuki.flare.api import (
    clear,
    get_config,
    get_job_id,
    get_site_name,
    get_task_name,
    init,
    is_evaluate,
    is_running,
    is_submit_model,
    is_train,
    log,
    receive,
    send,
    shutdown,
    system_info,
)
from tasuki.flare.decorators import evaluate, train
from tasuki.flare.model import AnalyticsDataType, FLModel, ParamsType

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


def __getattr__(name: str) -> object:
    raise absent(__name__, name)
