"""A run's first weights as the operator's own code makes them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasuki.errors import SettingsError, TasukiError
from tasuki.spelling import did_you_mean
from tasuki_site.trainer.failure import failure_of
from tasuki_site.trainer.shadowed_modules import library_module

State = Mapping[str, Any]  # Any: tensors or arrays


def made_state(initial: str, folder: Path) -> State:
    """What `initial`, "module:factory" seen from `folder`, makes.

    Raises:
        SettingsError: there is no such factory, it raised, or it made no weights.
    """
    name, colon, factory = initial.partition(":")
    if not (colon and name and factory):
        raise SettingsError(
            f"[weights] initial = {initial!r}: write module:factory, or a .safetensors, .pt, .pth"
            " or .ckpt file"
        )
    with _importing_from(folder):
        _check_module(initial, name, folder)
        try:
            return _state_of(_made(name, factory), initial)
        except TasukiError:
            raise
        except BaseException as exc:  # SystemExit, where a module reads arguments when imported
            if isinstance(exc, ModuleNotFoundError) and exc.name in _parents(name):
                raise SettingsError(_no_module(exc.name or name, folder)) from exc
            detail = failure_of(exc)[1]
            raise SettingsError(f"[weights] initial = {initial!r} failed:\n{detail}") from exc


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _check_module(initial: str, name: str, folder: Path) -> None:
    top = name.partition(".")[0]
    if (said := library_module(top, folder)) is not None:
        raise SettingsError(f"[weights] initial = {initial!r}: {said}")
    if top not in sys.modules and importlib.util.find_spec(top) is None:
        raise SettingsError(_no_module(top, folder))


def _no_module(name: str, folder: Path) -> str:
    here = [path.stem for path in folder.glob("*.py")]
    hint = did_you_mean(name, here, before="; ", otherwise=", and none is installed")
    return f"[weights] initial: there is no module {name!r} in {folder}{hint}"


def _parents(name: str) -> list[str]:
    """`a.b.c` cannot be imported without `a` and `a.b`."""
    parts = name.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def _made(name: str, factory: str) -> Any:  # Any: what the operator's code makes
    module = importlib.import_module(name)
    make = getattr(module, factory, None)
    if make is None:
        hint = did_you_mean(factory, dir(module), before="; ")
        raise SettingsError(f"[weights] initial: module {name} has no {factory!r}{hint}")
    return make()


def _state_of(made: Any, initial: str) -> State:  # Any: as above
    if isinstance(made, Mapping):
        return made
    if isinstance(made, type):
        raise SettingsError(f"{initial} made the class {made.__name__}: return {made.__name__}()")
    # Before torch's: on that backend, a Keras model is a torch module as well.
    if all(hasattr(made, name) for name in ("layers", "get_weights", "set_weights")):
        return _keras_state(made, initial)
    if not hasattr(made, "state_dict"):
        raise SettingsError(
            f"{initial} made a {type(made).__name__}: return a torch module, a Keras model, or a"
            " dict of name to tensor"
        )
    state: State = made.state_dict()
    return state


def _keras_state(model: Any, initial: str) -> State:  # Any: Keras need not be installed
    """The arrays of each layer, as scripts for Keras take and give them."""
    state = {layer.name: layer.get_weights() for layer in model.layers}
    count = sum(len(arrays) for arrays in state.values())
    if not count:
        raise SettingsError(
            f"{initial} made a Keras model that has no weights yet: begin it with an Input of your"
            " data's shape, or call its build(...)"
        )
    if count != len(model.get_weights()):
        raise SettingsError(
            f"{initial} made a Keras model with weights outside of its layers, or layers of one"
            " name: return a dict of name to list of arrays, and take the same in the trainer"
        )
    return state
