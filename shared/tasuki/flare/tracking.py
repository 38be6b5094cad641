"""The writers that NVFlare's scripts log with, in place of `nvflare.client.tracking`.

Numbers become progress of the turn; texts, parameters and tags are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping

from tasuki.flare.absent import absent
from tasuki.flare.api import log


class _Writer:
    def __init__(self, ctx: object = None) -> None:
        """Takes NVFlare's `ctx`, which says nothing here."""


class SummaryWriter(_Writer):
    """TensorBoard's interface."""

    def add_scalar(
        self, tag: str, scalar: object, global_step: int | None = None, **_kwargs: object
    ) -> None:
        log(tag, scalar, global_step=global_step)

    def add_scalars(
        self,
        tag: str,
        scalars: Mapping[str, object],
        global_step: int | None = None,
        **_kwargs: object,
    ) -> None:
        for name, scalar in scalars.items():
            log(f"{tag}/{name}", scalar, global_step=global_step)

    def flush(self) -> None:
        """Nothing waits to be written."""

    def close(self) -> None:
        """Nothing is open."""


class MLflowWriter(_Writer):
    """MLflow's interface."""

    def log_metric(self, key: str, value: object, step: int | None = None) -> None:
        log(key, value, global_step=step)

    def log_metrics(self, metrics: Mapping[str, object], step: int | None = None) -> None:
        for name, value in metrics.items():
            log(name, value, global_step=step)

    def log_param(self, key: str, value: object) -> None:
        """Ignored."""

    def log_params(self, values: Mapping[str, object]) -> None:
        """Ignored."""

    def log_text(self, text: str, artifact_file_path: str) -> None:
        """Ignored."""

    def set_tag(self, key: str, tag: object) -> None:
        """Ignored."""

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Ignored."""


class WandBWriter(_Writer):
    """The interface of Weights & Biases."""

    def log(self, metrics: Mapping[str, object], step: int | None = None) -> None:
        for name, value in metrics.items():
            log(name, value, global_step=step)


def __getattr__(name: str) -> object:
    raise absent(__name__, name, otherwise="flare.log(name, number) shows a number")
