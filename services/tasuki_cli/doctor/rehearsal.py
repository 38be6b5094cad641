"""In a process of its own: can this trainer be imported, and what would it train on?

`python -m tasuki_cli.doctor.rehearsal trainer RUN FOLDER | device`; `answer` says where the answer
goes. A script is not run, since it would ask for a turn: what it imports is imported instead.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tasuki.core.model import Kind
from tasuki.errors import CannotEvaluate, TrainerNotFound
from tasuki_cli.doctor.answer import ANSWER_VARIABLE, CODE, INSTALL, SETTINGS
from tasuki_site import tensors
from tasuki_site.trainer.failure import failure_of
from tasuki_site.trainer.source import Source, load_function


def main() -> None:
    answer_file = Path(os.environ.pop(ANSWER_VARIABLE))
    match sys.argv[1:]:
        case ["device"]:
            answer: dict[str, object] = _device()
        case ["trainer", run, folder, evaluate]:
            answer = dict(_try(Source(run=run, folder=Path(folder), evaluate=evaluate)))
        case _:
            sys.exit(__doc__)
    answer_file.write_text(json.dumps(answer), encoding="utf-8")


def _device() -> dict[str, object]:
    best = tensors.best_device()
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return {"device": best, "torch": "", "gpus": []}
    gpus = []
    if best == "cuda":
        for index in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(index)
            gpus.append(f"{gpu.name} with {gpu.total_memory / 2**30:.1f} GiB")
    return {"device": best, "torch": str(torch.__version__), "gpus": gpus}


def _try(source: Source) -> dict[str, str]:
    sys.argv[:] = source.argv  # as in a turn: a module may read its arguments when it is imported
    try:
        source.check()
        if source.is_script:
            _import_all(source)
        elif not source.is_command:
            load_function(source)
            if source.evaluate:
                load_function(source, Kind.EVALUATE)
    except (TrainerNotFound, CannotEvaluate) as exc:
        return {"error": str(exc), "mend": _what_to_mend(exc.__cause__, source)}
    return {"found": source.run}


def _what_to_mend(cause: BaseException | None, source: Source) -> str:
    """Without a cause it is not there; else its import raised this."""
    if cause is None:
        return SETTINGS
    if not isinstance(cause, ModuleNotFoundError) or cause.name is None:
        return CODE
    wanted = source.run.partition(":")[0]
    return SETTINGS if f"{wanted}.".startswith(f"{cause.name}.") else INSTALL


def _import_all(source: Source) -> None:
    sys.path.insert(0, str(source.folder))
    try:
        text = source.script.read_bytes()
        for name in _imports(ast.parse(text, source.script.name)):
            importlib.import_module(name)
    except BaseException as exc:
        # Whatever the trainer's imports raise, SystemExit too, is for the operator to read.
        raise TrainerNotFound(f"{source.run}: {failure_of(exc)[1]}") from exc


def _imports(tree: ast.Module) -> Iterator[str]:
    """What the script imports when it starts."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


if __name__ == "__main__":
    main()
