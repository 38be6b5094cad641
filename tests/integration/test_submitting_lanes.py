"""What a controller has to have room for, and can merge, before a run with lanes begins."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from support.operated import operations_of
from support.relay import relay
from tasuki.core.model import WeightsRef
from tasuki.errors import DiskFull, SettingsError, WeightsError
from tasuki.settings.lanes import LanesTable
from tasuki_controller.operations import Operations


async def uploaded(operations: Operations, dtype: str) -> WeightsRef:
    async def pieces() -> AsyncIterator[bytes]:
        yield save({"phase": np.zeros(9, dtype)})

    return await operations.uploads.receive(pieces())


def submitted(folder: Path, *, lanes: int, transfers: float, dtype: str = "float32") -> str:
    """What is said to so many lanes at streams that hold so many transfers; "" if nothing is."""

    async def run() -> str:
        async with relay(folder, {}) as it:
            operations = operations_of(it, stream_bytes=0)
            weights = await uploaded(operations, dtype)
            operations.stream_bytes = int(weights.size * transfers)
            file = it.run_file.model_copy(update={"lanes": LanesTable(count=lanes)})
            try:
                operations.submit(file, weights)
            except (SettingsError, WeightsError) as exc:
                assert it.run not in it.controller.runs
                return str(exc)
            return ""

    return asyncio.run(run())


@pytest.mark.parametrize(("lanes", "transfers"), [(1, 3), (2, 4), (3, 5)])
def test_a_stream_holds_two_transfers_beside_one_for_each_lane(
    tmp_path: Path, lanes: int, transfers: int
) -> None:
    assert "" == submitted(tmp_path, lanes=lanes, transfers=transfers)


@pytest.mark.parametrize(("lanes", "transfers"), [(1, 3), (2, 4), (3, 5)])
def test_less_is_told(tmp_path: Path, lanes: int, transfers: int) -> None:
    said = submitted(tmp_path, lanes=lanes, transfers=transfers - 0.1)
    assert f"provision them with {transfers} times the weights or more" in said
    assert ("let fewer lanes circulate" in said) is (lanes > 1)


def test_a_disk_that_cannot_hold_all_lanes_is_told_of_before_anybody_trains(tmp_path: Path) -> None:
    async def run() -> None:
        async with relay(tmp_path, {}) as it:
            operations = operations_of(it, stream_bytes=2**62)
            weights = await uploaded(operations, "float32")
            path = operations.uploads.find(weights)
            plan = it.run_file.model_copy(update={"lanes": LanesTable(count=3)}).plan(it.sites)
            free = shutil.disk_usage(tmp_path).free
            with pytest.raises(DiskFull, match=r"3 lanes of .* need .* let fewer circulate"):
                it.controller.submit(plan, path, replace(weights, size=free // 5))
            assert it.run not in it.controller.runs
            it.controller.submit(plan, path, weights)

    asyncio.run(run())


def test_tensors_that_cannot_be_merged_are_named_where_there_are_lanes(tmp_path: Path) -> None:
    assert "'phase' (C64)" in submitted(tmp_path, lanes=2, transfers=9, dtype="complex64")
