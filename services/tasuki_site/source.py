"""Where a site's trainer is: a script, or a function in a module. Code never travels."""

from __future__ import annotations

import importlib
import importlib.util
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasuki.errors import TrainerNotFound
from tasuki_site.shadows import library_module
from tasuki_site.spell import failure_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """`run` is "train.py" (script form) or "train:train" (function form), seen from `folder`.

    A script may have arguments: "train.py --epochs 2".
    """

    run: str
    folder: Path

    @property
    def is_script(self) -> bool:
        return self._words[0].endswith(".py")

    @property
    def script(self) -> Path:
        return self.folder / self._words[0]

    @property
    def arguments(self) -> list[str]:
        """What the script finds in `sys.argv` after its own path."""
        return self._words[1:]

    def check(self) -> None:
        """Say early what would fail later, without running any of the trainer's code.

        Raises:
            TrainerNotFound: there is no such file or module.
        """
        module, colon, function = self.run.partition(":")
        if self.is_script:
            if not self.script.is_file():
                raise TrainerNotFound(f"there is no trainer script {self.script}")
        elif not (colon and module and function.isidentifier()):
            raise TrainerNotFound(
                f"trainer {self.run!r}: write a script (train.py, or train.py --epochs 2) or"
                " module:function (train:train)"
            )
        elif (said := library_module(module.partition(".")[0], self.folder)) is not None:
            raise TrainerNotFound(f"trainer {self.run!r}: {said}")
        elif not self._has_module(module.partition(".")[0]):
            raise TrainerNotFound(
                f"there is no module {module!r} in {self.folder}, and none is installed"
            )

    @property
    def _words(self) -> list[str]:
        try:
            return shlex.split(self.run) or [""]
        except ValueError:
            return [self.run]  # a quote that does not end; `check` says that this is no trainer

    def _has_module(self, name: str) -> bool:
        here = self.folder / name
        if here.with_suffix(".py").is_file() or here.is_dir():
            return True
        try:
            return importlib.util.find_spec(name) is not None
        except (ImportError, ValueError):
            return False


def load_function(source: Source) -> Callable[..., Any]:
    """Import the function of a function form.

    Raises:
        TrainerNotFound: with the last frames of what went wrong.
    """
    name, _, attribute = source.run.partition(":")
    if (said := library_module(name.partition(".")[0], source.folder)) is not None:
        raise TrainerNotFound(f"trainer {source.run!r}: {said}")
    if str(source.folder) not in sys.path:
        sys.path.insert(0, str(source.folder))
    try:
        module = importlib.import_module(name)
    except Exception as exc:
        detail = failure_of(exc)[1]
        raise TrainerNotFound(f"trainer {source.run} cannot be imported:\n{detail}") from exc
    function = getattr(module, attribute, None)
    if not callable(function):
        raise TrainerNotFound(f"module {name} has no function {attribute!r}")
    return function  # type: ignore[no-any-return]
