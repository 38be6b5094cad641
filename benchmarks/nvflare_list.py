"""NVFlare's scripts, and what each is run with."""

from __future__ import annotations

from dataclasses import dataclass

JOBS = "tests/integration_test/data/jobs"
HELLO = "examples/hello-world"
ADVANCED = "examples/advanced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One script.

    Attributes:
        folder: in a clone of NVFlare.
        trainer: the script with its arguments, or the command that starts it.
        initial: the run file's `[weights] initial`; "first:first" if `first` makes them.
        first: a module that makes the first weights.
        prepare: commands that make its data, run in the copied folder before it.
        more: the end of its run file.
        own: lines that change in this script alone.
        needs: packages.
    """

    name: str
    folder: str
    trainer: str
    initial: str = "first:first"
    first: str = ""
    prepare: tuple[str, ...] = ()
    more: str = ""
    own: tuple[tuple[str, str], ...] = ()
    needs: tuple[str, ...] = ()


_ARRAY = """
import numpy as np

def first():
    return {"numpy_key": np.arange(1, 10, dtype=np.float32).reshape(3, 3)}
"""

NUMPY = tuple(
    Script(name=name, folder=folder, trainer=trainer, first=_ARRAY)
    for name, folder, trainer in (
        ("hello-numpy", f"{HELLO}/hello-numpy", "client.py"),
        ("hello-numpy, difference", f"{HELLO}/hello-numpy", "client.py --update_type diff"),
        ("np_loop, full", f"{JOBS}/np_loop/app_client/custom", "train_full.py"),
        ("np_loop, difference", f"{JOBS}/np_loop/app_client/custom", "train_diff.py"),
        ("np_loop, loop", f"{JOBS}/np_loop/app_client/custom", "train_loop.py"),
        ("np_metrics", f"{JOBS}/np_metrics/app/custom", "train_metrics.py"),
    )
)

_SYNTHETIC = "--synthetic_data --train_size 64 --test_size 32 --epochs 1"

TORCH = (
    Script(
        name="hello-pt",
        folder=f"{HELLO}/hello-pt",
        trainer=f"client.py {_SYNTHETIC}",
        initial="model:SimpleNetwork",
        needs=("torchvision",),
    ),
    Script(
        name="pt_client_api_cyclic",
        folder=f"{JOBS}/pt_client_api_cyclic/app/custom",
        trainer="cifar10_fl.py",
        initial="net:Net",
        needs=("torchvision",),
    ),
    Script(
        name="decorator",
        folder=f"{JOBS}/decorator/app/custom",
        trainer="cifar10_structured_fl.py",
        initial="net:Net",
        needs=("torchvision",),
    ),
)

SCRIPTS = (*NUMPY, *TORCH)
