"""Where a site's trainer is: a script, or a function in a module. Code never travels."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasuki.core.model import SITE, Kind
from tasuki.errors import CannotEvaluate, TrainerNotFound
from tasuki_site.trainer.definitions import defines
from tasuki_site.trainer.failure import failure_of
from tasuki_site.trainer.shadowed_modules import library_module

EVALUATE = "evaluate"
"""The function that scores weights, where none is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """`run` is "train.py" (script form) or "train:train" (function form), seen from `folder`.

    Or a command whose processes call `tasuki.flare`: "torchrun --nproc_per_node=2 train.py".

    A script may have arguments: "train.py --data data/{site}", where the site's name is put in.

    `evaluate` is the function that scores weights, "module:function"; by default the one of that
    name beside the function that trains. A script scores by itself.
    `handed`: a descriptor of functions that are in no file, of which `run` names one: see `cell`.
    """

    run: str
    folder: Path
    evaluate: str = ""
    handed: int | None = None

    @property
    def is_script(self) -> bool:
        return self._words[0].endswith(".py")

    @property
    def is_command(self) -> bool:
        first = self._words[0]
        is_program = len(self._words) > 1 or shutil.which(first, path=self.programs) is not None
        return not self.is_script and is_program and ":" not in first

    @property
    def command(self) -> list[str]:
        """The words, a file of them that lies in `folder` by its whole path."""
        return [str(self.folder / w) if self._is_own_script(w) else w for w in self._words]

    @property
    def programs(self) -> str:
        """Where a command's program is looked for: first where this Python's own are."""
        here = str(Path(sys.executable).parent)
        return os.pathsep.join([here, os.environ.get("PATH", os.defpath)])

    @property
    def script(self) -> Path:
        return self.folder / self._words[0]

    @property
    def arguments(self) -> list[str]:
        """What the script finds in `sys.argv` after its own path."""
        return self._words[1:]

    def at(self, site: str) -> str:
        """`run` as this site runs it."""
        return self.run.replace(SITE, site)

    @property
    def argv(self) -> list[str]:
        """What the code finds in `sys.argv`: its own file, and the arguments of a script."""
        if self.is_script:
            return [str(self.script), *self.arguments]
        path = self.folder.joinpath(*self.run.partition(":")[0].split("."))
        return [str(path.with_suffix(".py"))]

    def check(self) -> None:
        """Say early what would fail later, without running any of the trainer's code.

        Raises:
            TrainerNotFound: there is no such file or module.
        """
        module, colon, function = self.run.partition(":")
        if not self.folder.is_dir():
            raise TrainerNotFound(f"trainer {self.run!r}: there is no folder {self.folder}")
        self._check_evaluate()
        if self.is_script:
            if not self.script.is_file():
                hint = _hint(self.script.name, self._files)
                raise TrainerNotFound(f"there is no trainer script {self.script}{hint}")
        elif self.is_command:
            if shutil.which(self._words[0], path=self.programs) is None:
                raise TrainerNotFound(
                    f"trainer {self.run!r}: there is no program {self._words[0]!r} on this machine"
                )
        elif not (colon and module and function.isidentifier()):
            raise TrainerNotFound(
                f"trainer {self.run!r}: write a script (train.py, or train.py --epochs 2),"
                " module:function (train:train) or a command (torchrun train.py)"
            )
        elif (said := library_module(module.partition(".")[0], self.folder)) is not None:
            raise TrainerNotFound(f"trainer {self.run!r}: {said}")
        elif self.handed is None and not self._has_module(module.partition(".")[0]):
            hint = _hint(module, [name.removesuffix(".py") for name in self._files])
            said = f"there is no module {module!r} in {self.folder}, and none is installed"
            raise TrainerNotFound(f"{said}{hint}")

    def _check_evaluate(self) -> None:
        if not self.evaluate:
            return
        module, _, function = self.evaluate.partition(":")
        if self.is_script or self.is_command:
            raise TrainerNotFound(
                f"trainer {self.run!r} is no function, so that evaluate = {self.evaluate!r} says"
                " nothing: leave it out, and let the script ask flare.is_evaluate()"
            )
        if not (module and function.isidentifier()):
            raise TrainerNotFound(
                f"evaluate = {self.evaluate!r} of trainer {self.run!r}: write module:function, as"
                " in train:evaluate"
            )

    def function(self, kind: Kind) -> tuple[str, str]:
        """Module and name of the function for such turns."""
        module, _, name = self.run.partition(":")
        if kind is Kind.EVALUATE:
            module, _, name = (self.evaluate or f"{module}:{EVALUATE}").partition(":")
        return module, name

    def why_not_evaluate(self) -> str | None:
        """Why it cannot evaluate, by the text of its module; None: it can, or that is not known.

        Scripts and commands are not judged.
        """
        if self.is_script or self.is_command:
            return None
        module, name = self.function(Kind.EVALUATE)
        path = self.folder.joinpath(*module.split("."))
        package = path / "__init__.py"
        file = package if package.is_file() else path.with_suffix(".py")
        return self.lacks_evaluate() if defines(file, name) is False else None

    def lacks_evaluate(self) -> str:
        """What to say if there is no function that scores weights."""
        module, name = self.function(Kind.EVALUATE)
        said = f"trainer {self.run!r} cannot evaluate: module {module!r} has no function {name!r}"
        if self.evaluate:
            return f"{said}, which its settings name; write it there, or correct `evaluate`"
        return (
            f"{said}; write `def evaluate(turn): return turn.scores({{...}}, samples=n)` there, or"
            ' name one elsewhere: evaluate = "module:function" under [trainers.NAME] of the site,'
            " or under [simulate]"
        )

    @property
    def _words(self) -> list[str]:
        try:
            return shlex.split(self.run) or [""]
        except ValueError:
            return [self.run]  # a quote that does not end; `check` says that this is no trainer

    @property
    def _files(self) -> list[str]:
        return [path.name for path in self.folder.glob("*.py")]

    def _is_own_script(self, word: str) -> bool:
        return word.endswith(".py") and (self.folder / word).is_file()

    def _has_module(self, name: str) -> bool:
        here = self.folder / name
        if here.with_suffix(".py").is_file() or here.is_dir():
            return True
        try:
            return importlib.util.find_spec(name) is not None
        except (ImportError, ValueError):
            return False


def _hint(wanted: str, there: Sequence[str]) -> str:
    near = difflib.get_close_matches(wanted, there, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def load_function(source: Source, kind: Kind = Kind.TRAIN) -> Callable[..., Any]:
    """Import the function of a function form that trains, or the one that evaluates.

    Raises:
        TrainerNotFound: with the last frames of what went wrong.
        CannotEvaluate: it has none that does.
    """
    name, attribute = source.function(kind)
    if (said := library_module(name.partition(".")[0], source.folder)) is not None:
        raise TrainerNotFound(f"trainer {source.run!r}: {said}")
    if str(source.folder) not in sys.path:
        sys.path.insert(0, str(source.folder))
    try:
        module = importlib.import_module(name)
    except BaseException as exc:  # SystemExit, where a module reads arguments as it is imported
        detail = failure_of(exc)[1]
        raise TrainerNotFound(f"trainer {source.run} cannot be imported:\n{detail}") from exc
    function = getattr(module, attribute, None)
    if not callable(function) and kind is Kind.EVALUATE:
        raise CannotEvaluate(source.lacks_evaluate())
    if not callable(function):
        hint = _hint(attribute, [each for each in vars(module) if callable(vars(module)[each])])
        raise TrainerNotFound(f"module {name} has no function {attribute!r}{hint}")
    return function  # type: ignore[no-any-return]
