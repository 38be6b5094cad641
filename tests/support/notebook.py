"""Notebooks as Jupyter runs them: a kernel of their own, cell after cell."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

TRAINER = b"tasuki_site.trainer.child"

Notebook = Any  # Any: nbformat's, which has no types
Outputs = Sequence[Any]  # Any: as above


_FORMAT: Any = nbformat  # Any: as above


def notebook_of(*cells: str) -> Notebook:
    return with_cells(_FORMAT.v4.new_notebook(), *cells)


def with_cells(notebook: Notebook, *cells: str) -> Notebook:
    notebook.cells.extend(map(_FORMAT.v4.new_code_cell, cells))
    return notebook


def with_parameters(notebook: Notebook, code: str) -> Notebook:
    """The code follows the cell that is tagged for it, as papermill has it."""
    tagged = [
        at
        for at, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", [])
    ]
    notebook.cells.insert(tagged[0] + 1, _FORMAT.v4.new_code_cell(code))
    return notebook


def read_notebook(path: Path) -> Notebook:
    return _FORMAT.read(path, 4)


def run_notebook(
    notebook: Notebook,
    folder: Path,
    *,
    meanwhile: Callable[[NotebookClient], None] = lambda _: None,
    allow_errors: bool = False,
) -> list[Outputs]:
    """What each code cell has put out. `meanwhile` is called beside it, once."""
    client = NotebookClient(
        notebook,
        timeout=240,
        allow_errors=allow_errors,
        resources={"metadata": {"path": str(folder)}},
    )
    beside = threading.Thread(target=meanwhile, args=(client,))
    beside.start()
    try:
        client.execute()
    finally:
        beside.join(30)
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def text_of(outputs: Outputs) -> str:
    """What a cell printed, and what it ended with."""
    streams = [each.text for each in outputs if each.output_type == "stream"]
    results = [each.data for each in outputs if each.output_type == "execute_result"]
    return "".join([*streams, *(data.get("text/plain", "") for data in results)])


def trainers_in(folder: Path) -> list[int]:
    """Trainers' processes that work somewhere in this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_there = (process / "cwd").readlink().is_relative_to(folder)
            if is_there and TRAINER in (process / "cmdline").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:  # gone since
            continue
    return [pid for pid in found if pid != os.getpid()]
