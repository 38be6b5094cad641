"""What a script receives and sends, with the fields that NVFlare's scripts know."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ParamsType(StrEnum):
    """Whether params are the weights, or what to add to the received ones."""

    FULL = "FULL"
    DIFF = "DIFF"


class AnalyticsDataType(StrEnum):
    """What a script may say that it logs. Only numbers are shown, whatever it says."""

    SCALAR = "SCALAR"
    SCALARS = "SCALARS"
    IMAGE = "IMAGE"
    TEXT = "TEXT"
    LOG_RECORD = "LOG_RECORD"
    PARAMETER = "PARAMETER"
    PARAMETERS = "PARAMETERS"
    METRIC = "METRIC"
    METRICS = "METRICS"
    MODEL = "MODEL"
    TAGS = "TAGS"
    TAG = "TAG"
    INIT_DATA = "INIT_DATA"


@dataclass(eq=False)
class FLModel:
    """Weights and what is known about them.

    Attributes:
        params_type: FULL unless said otherwise, if there are params.
        params: name -> tensor, array, or list of arrays (Keras layers).
        optimizer_params: kept here; not handed on.
        metrics: name -> number, or one number.
        current_round, start_round, total_rounds: rounds count from 0.
        meta: `NUM_STEPS_CURRENT_ROUND` or `num_samples` weighs the metrics.

    Raises:
        ValueError: a type without params, or an unknown type.
    """

    # Any, below: tensors of whatever framework, and the script's own values.
    params_type: ParamsType | str | None = None
    params: Any = field(default=None, repr=False)
    optimizer_params: Any = field(default=None, repr=False)
    metrics: Any = None
    start_round: int | None = 0
    current_round: int | None = None
    total_rounds: int | None = None
    meta: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.params_type is not None:
            self.params_type = ParamsType(self.params_type)
            if self.params is None:
                raise ValueError(f"params must be provided when params_type is {self.params_type}")
        elif self.params is not None:
            self.params_type = ParamsType.FULL
        self.meta = {} if self.meta is None else self.meta

    @property
    def is_difference(self) -> bool:
        return self.params_type == ParamsType.DIFF
