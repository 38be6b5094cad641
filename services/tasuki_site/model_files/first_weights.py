"""A run's first weights, made in a process of their own: a factory is code of the operator's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tasuki.core.model import WeightsRef
from tasuki.errors import SettingsError
from tasuki_site.trainer.child_process import ChildProcess


async def first_weights(
    initial: str,
    path: Path,
    *,
    folder: Path,
    seed: int,
    show: Callable[[str], None],
    non_finite: Sequence[str] = (),
    warn: Callable[[str], None] = lambda _: None,
    handed: int | None = None,
) -> WeightsRef:
    """Write a run's first weights to `path`; as `initial.write_initial`, elsewhere.

    Args:
        show: gets each line that the factory prints.
        non_finite, warn: as `write_initial`.
        handed: as `ChildProcess.start`, for a factory that is in no file.

    Raises:
        SettingsError, BadWeights, NonFiniteWeights: as `write_initial`; whatever a factory does is
            its own failure.
    """
    words = (initial, str(folder), str(seed), str(path.absolute()), *non_finite)
    child = await ChildProcess.start(
        "tasuki_site.model_files.process", words, folder=folder, show=show, handed=handed
    )
    try:
        answer = await child.hear()
        if answer is None:
            ended = f"[weights] initial = {initial!r}: its process {await child.end()} before"
            raise SettingsError(await child.with_last_lines(f"{ended} there were any weights"))
        if "error" in answer:
            raise await child.error_told(answer)
        await child.ended_within(1.0)  # what it prints at its end is shown
        for text in answer["warnings"]:
            warn(text)
        return WeightsRef(digest=answer["digest"], size=answer["size"])
    finally:
        await child.kill()
