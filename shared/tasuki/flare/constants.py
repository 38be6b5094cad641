"""The names that NVFlare's scripts import from elsewhere than its client, with their values.

    from tasuki.flare.constants import ExchangeFormat, FLMetaKey, ModelName, NPConstants

They are keys and words of a script's own: none of them changes what Tasuki does, but that the meta
of a result may hold the number of its samples under `FLMetaKey.NUM_STEPS_CURRENT_ROUND`, and that
`flare.init(params_format=...)` takes an `ExchangeFormat`.
"""

from __future__ import annotations

from enum import StrEnum

from tasuki.flare.absent import absent
from tasuki.flare.model import AnalyticsDataType, ParamsType

__all__ = [
    "AlgorithmConstants",
    "AnalyticsDataType",
    "ExchangeFormat",
    "FLMetaKey",
    "FLModelConst",
    "MetaKey",
    "ModelName",
    "NPConstants",
    "ParamsType",
    "TransferType",
]


class ModelName:
    """What NVFlare's server asks a site for; a Tasuki run never asks again."""

    BEST_MODEL = "best_model"
    FINAL_MODEL = "final_model"


class NPConstants:
    """The name of the array in NVFlare's examples with a single one."""

    NUMPY_KEY = "numpy_key"


class FLMetaKey:
    """Keys of a model's meta."""

    NUM_STEPS_CURRENT_ROUND = "NUM_STEPS_CURRENT_ROUND"
    PROCESSED_ALGORITHM = "PROCESSED_ALGORITHM"
    PROCESSED_KEYS = "PROCESSED_KEYS"
    INITIAL_METRICS = "initial_metrics"
    FILTER_HISTORY = "filter_history"
    CONFIGS = "configs"
    VALIDATE_TYPE = "validate_type"
    START_ROUND = "start_round"
    CURRENT_ROUND = "current_round"
    TOTAL_ROUNDS = "total_rounds"
    JOB_ID = "job_id"
    SITE_NAME = "site_name"
    SUBMIT_MODEL_NAME = "submit_model_name"


MetaKey = FLMetaKey


class FLModelConst:
    """The fields of an `FLModel`, by name."""

    PARAMS_TYPE = "params_type"
    PARAMS = "params"
    OPTIMIZER_PARAMS = "optimizer_params"
    METRICS = "metrics"
    CURRENT_ROUND = "current_round"
    START_ROUND = "start_round"
    TOTAL_ROUNDS = "total_rounds"
    META = "meta"


class AlgorithmConstants:
    """Keys under which an algorithm's values travel; here `[params]` puts them into the meta."""

    FEDPROX_MU = "fedprox_mu"
    SCAFFOLD_CTRL_DIFF = "scaffold_c_diff"
    SCAFFOLD_CTRL_GLOBAL = "scaffold_c_global"
    SCAFFOLD_CTRL_AGGREGATOR_ID = "scaffold_ctrl_aggregator"


class TransferType(StrEnum):
    """Whether a script sends weights or differences; with Tasuki each `FLModel` says it."""

    FULL = "FULL"
    DIFF = "DIFF"


class ExchangeFormat(StrEnum):
    """What params are; `flare.init(params_format=...)` takes the second and the third."""

    RAW = "raw"
    PYTORCH = "pytorch"
    NUMPY = "numpy"
    KERAS_LAYER_WEIGHTS = "keras_layer_weights"


def __getattr__(name: str) -> object:
    raise absent(
        __name__, name, otherwise="write its value into the script; Tasuki reads no such key"
    )
