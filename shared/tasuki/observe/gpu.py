"""What a site's NVIDIA GPUs are doing, if it has any and `nvidia-ml-py` is installed."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import structlog

from tasuki.observe.board import Board

log = structlog.get_logger()


def open_nvml() -> ModuleType | None:
    """NVIDIA's library, started; None where there is none, or no GPU."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as exc:
        log.info("no NVIDIA GPU is watched", reason=str(exc))
        return None
    module: ModuleType = pynvml
    return module


class Gpus:
    """Reads them whenever someone looks; one that cannot be read is left out."""

    def __init__(self, nvml: Any, board: Board) -> None:  # Any: NVIDIA gives it no types
        self._nvml = nvml
        self._board = board

    def read(self) -> None:
        for name in ("memory_used_bytes", "memory_total_bytes", "utilisation_ratio"):
            self._board.forget(f"tasuki_gpu_{name}")
        try:
            for index in range(self._nvml.nvmlDeviceGetCount()):
                self._read_one(index)
        except self._nvml.NVMLError as exc:
            log.warning("the GPU cannot be read", reason=str(exc))

    def _read_one(self, index: int) -> None:
        nvml, gpu = self._nvml, str(index)
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        self._board.set("tasuki_gpu_memory_used_bytes", memory.used, gpu=gpu)
        self._board.set("tasuki_gpu_memory_total_bytes", memory.total, gpu=gpu)
        busy = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        self._board.set("tasuki_gpu_utilisation_ratio", busy, gpu=gpu)
