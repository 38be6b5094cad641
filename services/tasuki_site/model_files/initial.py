"""A run's first weights, from a file of the operator's or from its factory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tasuki.core.model import WeightsRef
from tasuki.disk.errors import disk_errors
from tasuki.errors import SettingsError
from tasuki.trainer import turn_seed
from tasuki.weights.container import (
    FirstWeights,
    Manifest,
    WrittenWeights,
    exempting,
    fits,
    look_through,
    read_manifest,
)
from tasuki.weights.digest import verify_digest
from tasuki_site.model_files import torch_files
from tasuki_site.model_files.factory import made_state
from tasuki_site.tensors import save_state
from tasuki_site.trainer.seeding import seed_everything

_CONTAINER = ".safetensors"
_MOST_NAMED = 5

Warn = Callable[[str], None]


def write_initial(
    initial: str,
    path: Path,
    *,
    folder: Path,
    seed: int,
    non_finite: Sequence[str] = (),
    warn: Warn = lambda _: None,
) -> WeightsRef:
    """Write a run's first weights to `path`.

    Args:
        initial: "module:factory", a .safetensors file, or one that torch.save wrote: "last.ckpt",
            or "last.ckpt#state_dict" for what lies in it under that key. Seen from `folder`.
        seed: the run's; a factory draws from generators that start there.
        non_finite: the run's `[gate] non_finite`.
        warn: told what may be meant, and may not be.

    Raises:
        SettingsError: there is no such file, key or factory, or not one tensor.
        BadWeights: the file is not what it should be; a pickle is never executed.
        NonFiniteWeights: they hold NaN.
    """
    first = FirstWeights()
    file, *keys = _split(initial, folder)
    if file.endswith(_CONTAINER):
        written = _copied(folder / file, path, keys)
        look_through(path, partial(exempting, first.look, patterns=non_finite))
    else:
        if file.lower().endswith(torch_files.ENDINGS):
            state = torch_files.read_state(folder / file, keys)
        else:
            seed_everything(turn_seed(seed=seed, round=0, hop=0, site="initial"))
            state = made_state(initial, folder)
        with disk_errors(path):
            written = save_state(path, state, look=first.look, exempt=non_finite)
    if not written.manifest.tensors:
        raise SettingsError(
            f"[weights] initial = {initial!r} holds no tensor, so that there is nothing to train:"
            " look at what is returned or was saved there"
        )
    _warn(warn, first, written.manifest, non_finite)
    return WeightsRef(digest=written.digest, size=written.size)


def _split(initial: str, folder: Path) -> list[str]:
    """A file and what to take out of it, one key inside the other."""
    return [initial] if (folder / initial).is_file() else initial.split("#")


def _copied(source: Path, path: Path, keys: Sequence[str]) -> WrittenWeights:
    if not source.is_file():
        raise SettingsError(f"[weights] initial: there is no file {source}")
    if keys:
        raise SettingsError(f"[weights] initial: {source.name} has no keys; write its name alone")
    manifest = read_manifest(source)
    with disk_errors(path):
        shutil.copyfile(source, path)
    size = path.stat().st_size
    return WrittenWeights(digest=verify_digest(path), size=size, manifest=manifest)


def _warn(warn: Warn, first: FirstWeights, manifest: Manifest, patterns: Sequence[str]) -> None:
    if first.infinite:
        warn(
            f"the first weights hold infinite values, in {_named(list(first.infinite))}: they are"
            " taken for constants, which a result may hold where they were and nowhere else"
        )
    for pattern in patterns:
        if not any(fits(name, [pattern]) for name in manifest.names):
            warn(f"[gate] non_finite: no tensor of the first weights is called {pattern!r}")


def _named(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    shown = ", ".join(map(repr, names[:_MOST_NAMED]))
    return f"{shown} and {more} more" if more > 0 else shown
