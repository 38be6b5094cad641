"""Weights from and to files of the operator's own: a run's first weights, and what is exported."""

from __future__ import annotations

import difflib
import importlib
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasuki.core.model import WeightsRef
from tasuki.errors import BadWeights, SettingsError
from tasuki.trainer import turn_seed
from tasuki.wire.spool import disk_errors
from tasuki.wire.weights import read_manifest, verify_digest
from tasuki_site import tensors
from tasuki_site.seeding import seed_everything
from tasuki_site.spell import failure_of


def write_initial(initial: str, path: Path, *, folder: Path, seed: int) -> WeightsRef:
    """Write a run's first weights to `path`.

    Args:
        initial: "module:factory", a .safetensors file or a .pt file; seen from `folder`.
        seed: the run's; a factory draws from generators that start there.

    Raises:
        SettingsError: there is no such file or factory.
        BadWeights: the file is not what it should be; a pickle is never executed.
    """
    if initial.endswith(".safetensors"):
        return _copied(folder / initial, path)
    if initial.endswith((".pt", ".pth", ".bin")):
        state = _read_pt(folder / initial)
    else:
        seed_everything(turn_seed(seed=seed, round=0, hop=0, site="initial"))
        state = _made(initial, folder)
    with disk_errors(path):
        written = tensors.save_state(path, state)
    return WeightsRef(digest=written.digest, size=written.size)


def export(source: Path, target: Path) -> None:
    """Copy a checkpoint to a .safetensors or .pt file of the operator's.

    Raises:
        SettingsError: the target has another ending.
    """
    if target.suffix == ".safetensors":
        with disk_errors(target):
            shutil.copyfile(source, target)
    elif target.suffix in {".pt", ".pth"}:
        import torch

        with disk_errors(target):
            torch.save(tensors.load_state(source, framework="torch"), target)
    else:
        raise SettingsError(f"{target.name}: export to a .safetensors or a .pt file")


def _copied(source: Path, path: Path) -> WeightsRef:
    if not source.is_file():
        raise SettingsError(f"[weights] initial: there is no file {source}")
    read_manifest(source)
    with disk_errors(path):
        shutil.copyfile(source, path)
    return WeightsRef(digest=verify_digest(path), size=path.stat().st_size)


def _read_pt(source: Path) -> Mapping[str, Any]:  # Any: tensors
    if not source.is_file():
        raise SettingsError(f"[weights] initial: there is no file {source}")
    import torch

    try:
        loaded = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as exc:
        # torch raises whatever its reader met: none of it says more than this.
        raise BadWeights(
            f"{source} is no file of plain tensors, so nothing of it was loaded; save a "
            f"state_dict with torch.save, or use safetensors ({type(exc).__name__})"
        ) from exc
    if not isinstance(loaded, Mapping):
        raise BadWeights(f"{source} holds a {type(loaded).__name__}, not a state_dict")
    return loaded


def _parents(name: str) -> list[str]:
    """`a.b.c` cannot be imported without `a` and `a.b`."""
    parts = name.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def _no_module(name: str, folder: Path) -> str:
    near = difflib.get_close_matches(name, [path.stem for path in folder.glob("*.py")], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ", and none is installed"
    return f"[weights] initial: there is no module {name!r} in {folder}{hint}"


def _made(initial: str, folder: Path) -> Mapping[str, Any]:  # Any: tensors
    name, colon, factory = initial.partition(":")
    if not (colon and name and factory):
        raise SettingsError(
            f"[weights] initial = {initial!r}: write module:factory, or a .safetensors or .pt file"
        )
    sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(name)
        make = getattr(module, factory, None)
        made: Any = None if make is None else make()  # Any: what the operator's code makes
    except BaseException as exc:  # SystemExit, where a module reads arguments as it is imported
        if isinstance(exc, ModuleNotFoundError) and exc.name in _parents(name):
            raise SettingsError(_no_module(exc.name or name, folder)) from exc
        detail = failure_of(exc)[1]
        raise SettingsError(f"[weights] initial = {initial!r} failed:\n{detail}") from exc
    finally:
        sys.path.remove(str(folder))
    if make is None:
        near = difflib.get_close_matches(factory, dir(module), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise SettingsError(f"[weights] initial: module {name} has no {factory!r}{hint}")
    state = made.state_dict() if hasattr(made, "state_dict") else made
    if not isinstance(state, Mapping):
        raise SettingsError(f"{initial} made a {type(made).__name__}: return a module or a dict")
    return state
