"""First weights on their way in: whole and well-formed, or not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from safetensors.numpy import save

from tasuki.core.model import WeightsRef
from tasuki.errors import BadWeights, WeightsError
from tasuki_controller.uploads import Uploads

CONTENT = save({"w": np.arange(1000, dtype="float32")})
WEIGHTS = WeightsRef(digest=f"blake3:{blake3(CONTENT).hexdigest()}", size=len(CONTENT))


def receive(uploads: Uploads, content: bytes) -> WeightsRef:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(content), 700):
            yield content[at : at + 700]

    return asyncio.run(uploads.receive(pieces()))


def test_an_upload_is_kept_under_its_digest(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "uploads")
    assert receive(uploads, CONTENT) == WEIGHTS
    assert uploads.find(WEIGHTS).read_bytes() == CONTENT


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", CONTENT[:-1]])
def test_what_is_no_container_is_refused_and_removed(tmp_path: Path, content: bytes) -> None:
    uploads = Uploads(tmp_path / "uploads")
    with pytest.raises(BadWeights):
        receive(uploads, content)
    assert list((tmp_path / "uploads").iterdir()) == []


def test_weights_that_were_not_uploaded_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="upload them first"):
        Uploads(tmp_path / "uploads").find(WEIGHTS)


def test_uploads_of_an_earlier_process_are_dropped(tmp_path: Path) -> None:
    receive(Uploads(tmp_path / "uploads"), CONTENT)
    with pytest.raises(WeightsError):
        Uploads(tmp_path / "uploads").find(WEIGHTS)


def test_runs_submitted_together_may_start_from_the_same_weights(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "uploads")
    receive(uploads, CONTENT)
    receive(uploads, CONTENT)
    uploads.taken(WEIGHTS)
    assert uploads.find(WEIGHTS).read_bytes() == CONTENT
    uploads.taken(WEIGHTS)
    with pytest.raises(WeightsError):
        uploads.find(WEIGHTS)
