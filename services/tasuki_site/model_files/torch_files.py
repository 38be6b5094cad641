"""Files that torch.save wrote: an operator's model in, a copy of one out. None is executed."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasuki.disk.errors import disk_errors
from tasuki.errors import BadWeights, SettingsError
from tasuki.spelling import did_you_mean
from tasuki_site.tensors import load_state

ENDINGS = (".pt", ".pth", ".ckpt", ".bin", ".pth.tar", ".pt.tar")
State = Mapping[str, Any]  # Any: tensors, and whatever else is in a checkpoint

_REFUSED = re.compile(r"Unsupported global: GLOBAL (\S+)")
_MOST_SHOWN = 20


def read_state(source: Path, keys: Sequence[str]) -> State:
    """The state_dict in a file, or the one that lies in it under these keys, one inside the other.

    Raises:
        SettingsError: there is no such file or key, or it takes a key; the message lists them.
        BadWeights: it holds more than plain tensors; none of it was executed.
    """
    if not source.is_file():
        raise SettingsError(f"[weights] initial: there is no file {source}")
    if importlib.util.find_spec("torch") is None:
        raise SettingsError(f"[weights] initial: {source.name} takes PyTorch to read; install it")
    found, where = _loaded(source), source.name
    for key in keys:
        # By what it looks like: some checkpoints are numbered.
        items = {str(name): value for name, value in _mapping(found, where).items()}
        if key not in items:
            hint = did_you_mean(key, items, after=" It has ", otherwise="it has ")
            raise SettingsError(
                f"[weights] initial: {where} has no {key!r}; {hint}{_listed(items)}"
            )
        found, where = items[key], f"{where}#{key}"
    state = _mapping(found, where)
    _refuse_wrapped(state, where)
    return state


def write_state(source: Path, target: Path) -> None:
    """Copy a container's tensors into a file for torch.load."""
    import torch

    with disk_errors(target):
        torch.save(load_state(source, framework="torch"), target)


def _loaded(source: Path) -> object:
    import torch

    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except Exception as exc:
        # torch raises whatever its reader met: none of it says more than this.
        raise BadWeights(
            f"{source} is no file of plain tensors, so nothing of it was loaded; "
            f"{_advice(source, exc)}"
        ) from exc


def _advice(source: Path, exc: Exception) -> str:
    refused = _REFUSED.search(str(exc))
    if refused is None:
        return f"save a state_dict with torch.save, or use safetensors ({type(exc).__name__})"
    inner = ".state_dict()" if refused[1].startswith("torch.nn.") else '["state_dict"]'
    return (
        f"it holds a {refused[1]} as well, and loading that runs code; where you trust it, take the"
        f' tensors out: torch.save(torch.load("{source.name}", weights_only=False){inner},'
        ' "model.pt"), or .state_dict() of it if it is a module'
    )


def _mapping(found: object, where: str) -> State:
    if not isinstance(found, Mapping):
        raise BadWeights(f"{where} holds a {_what(found)}, not a state_dict")
    return found


def _refuse_wrapped(state: State, where: str) -> None:
    """A checkpoint has its tensors one level down, beside what its training needed."""
    inner = {key: _tensors(value) for key, value in state.items()}
    most = max(inner, key=lambda key: inner[key], default=None)
    if most is not None and inner[most] > _tensors(state):
        raise SettingsError(
            f"[weights] initial: {where} is a checkpoint with more than weights in it; write"
            f' "{where}#{most}" or another of its keys: {_listed(state)}'
        )


def _tensors(value: object) -> int:
    import torch

    if not isinstance(value, Mapping):
        return 0
    return sum(isinstance(item, torch.Tensor) for item in value.values())


def _listed(state: State) -> str:
    shown = [f"{key!r} ({_what(value)})" for key, value in list(state.items())[:_MOST_SHOWN]]
    more = len(state) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") if shown else "nothing"


def _what(value: object) -> str:
    if isinstance(value, Mapping):
        count = _tensors(value)
        return f"{count} tensors" if count else f"a dict of {len(value)}"
    return type(value).__name__
