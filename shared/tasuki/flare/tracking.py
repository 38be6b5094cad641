"""The writer that NVFlare's scripts log with, in place of `nvflare.client.tracking`."""

from __future__ import annotations

from collections.abc import Mapping

from tasuki.flare.api import log


class SummaryWriter:
    """TensorBoard's interface: scalars become progress of the turn, all else is ignored."""

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
