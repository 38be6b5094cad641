"""What the parts for Lightning and Hugging Face say where neither is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tasuki.errors import TrainerError
from tasuki.flare import hf, lightning


class NotATrainer:
    callbacks: tuple[object, ...] = ()


def test_something_else_than_a_trainer_is_refused() -> None:
    with pytest.raises(TrainerError, match="takes a Trainer of Lightning, and this is a NotATr"):
        lightning.patch(NotATrainer())
    with pytest.raises(TrainerError, match="takes a Trainer of transformers, and this is a NotATr"):
        hf.patch(NotATrainer())


@pytest.mark.parametrize("name", ["FLCallback", "logger"])
def test_the_callback_and_the_logger_need_lightning(name: str) -> None:
    with pytest.raises(TrainerError, match="import lightning"):
        getattr(lightning, name)


def test_one_import_has_the_whole_client_and_neither_framework() -> None:
    code = (
        "import sys, tasuki.flare as client, tasuki.flare.hf as hf, tasuki.flare.lightning as pl\n"
        "assert all(hasattr(m, n) for m in (hf, pl) for n in [*client.__all__, 'patch'])\n"
        "heavy = {'torch', 'lightning', 'pytorch_lightning', 'transformers', 'peft'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
