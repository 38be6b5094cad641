"""The process that makes a run's first weights: an operator's factory may do what it likes here."""

from __future__ import annotations

import sys
from pathlib import Path

from tasuki_site.model_files.initial import write_initial
from tasuki_site.trainer import cell, channel
from tasuki_site.trainer.failure import failure_told
from tasuki_site.trainer.source import Source


def main() -> None:
    connection = channel.connect()
    channel.end_with(connection)
    initial, folder, seed, path, *non_finite = sys.argv[1:]
    cell.take(Path(folder))
    warnings: list[str] = []
    sys.argv[:] = Source(run=initial, folder=Path(folder)).argv
    try:
        weights = write_initial(
            initial,
            Path(path),
            folder=Path(folder),
            seed=int(seed),
            non_finite=non_finite,
            warn=warnings.append,
        )
        answer: channel.Map = {
            "digest": weights.digest,
            "size": weights.size,
            "warnings": warnings,
        }
    except BaseException as exc:  # noqa: BLE001 - the operator's code may raise anything
        answer = failure_told(exc)
    channel.flush_output()
    connection.sendall(channel.pack(answer))


if __name__ == "__main__":
    main()
