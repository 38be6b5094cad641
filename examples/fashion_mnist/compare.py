"""Compare what to ship of a run, orders, frequencies of transfer and early ends; prints tables.

Eight sites with strong label skew. Each seed is another division of the images, other first weights
and other orders. A run that is in `--data` from before is not made again.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import torch
from compared_runs import SITES, Runs, Setting, Went

ROUNDS = 30
STEPS = 20  # a turn
TARGET = 0.7
ORDERS = ("fixed", "random", "random_without_same_in_a_row")
OTHER_STEPS = (5, 20, 60)
PATIENCE = (3, 6)  # rounds
SHIPPED: dict[str, Callable[[Went], int]] = {
    "last": lambda went: went.last,
    "best by rolling scores": lambda went: went.best(went.rolling),
    "best by evaluation, mean": lambda went: went.best(went.mean),
    "best by evaluation, worst": lambda went: went.best(went.worst),
    "best there was": lambda went: went.best(went.test),
}

Rows = dict[str, list[Setting]]  # one for each seed
Line = list[str]


@dataclass(frozen=True, kw_only=True)
class Study:
    """The runs that are compared. All but the early ends train for as many steps."""

    seeds: Sequence[int]
    rounds: int

    @property
    def plain(self) -> list[Setting]:
        return [Setting(seed=seed, rounds=self.rounds, steps=STEPS) for seed in self.seeds]

    def orders(self) -> Rows:
        return {order: [replace(each, order=order) for each in self.plain] for order in ORDERS}

    def transfers(self) -> Rows:
        rows = {}
        for steps in OTHER_STEPS:
            rounds = max(1, self.rounds * STEPS // steps)
            name = f"{rounds} rounds, {steps} steps a turn"
            rows[name] = [replace(each, rounds=rounds, steps=steps) for each in self.plain]
        return rows

    def early_ends(self) -> Rows:
        patient = {
            f"patience of {rounds}": [replace(each, patience=rounds) for each in self.plain]
            for rounds in PATIENCE
        }
        return {**patient, "all rounds": self.plain}


def shipped(study: Study, runs: Runs) -> Iterator[Line]:
    """On the test images, which nobody has trained on or chosen by."""
    went = runs.went(study.plain)
    yield ["shipped", *(f"seed {seed}" for seed in study.seeds), "mean"]
    for name, chosen in SHIPPED.items():
        scores = [each.test[chosen(each)] for each in went]
        yield [name, *map(percent, scores), percent(mean(scores))]


def compared(what: str, rows: Rows, runs: Runs) -> Iterator[Line]:
    yield [what, "turns", f"turns to {TARGET:.0%}", "last", "best by evaluation", "swing"]
    for name, settings in rows.items():
        went = runs.went(settings)
        yield [
            name,
            each_seed(one.last * SITES for one in went),
            each_seed(one.turns_to(TARGET) or "never" for one in went),
            percent(mean(one.test[one.last] for one in went)),
            percent(mean(one.test[one.best(one.mean)] for one in went)),
            percent(mean(one.swing for one in went)),
        ]


def percent(share: float) -> str:
    return f"{share:.1%}"


def each_seed(values: Iterable[object]) -> str:
    """One if all are the same."""
    said = list(map(str, values))
    return said[0] if len(set(said)) == 1 else " / ".join(said)


def markdown(lines: Iterable[Line]) -> str:
    head, *rows = lines
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


TABLES: dict[str, Callable[[Study, Runs], Iterator[Line]]] = {
    "shipped": shipped,
    "order": lambda study, runs: compared("order", study.orders(), runs),
    "transfers": lambda study, runs: compared("transfers", study.transfers(), runs),
    "early_end": lambda study, runs: compared("early end", study.early_ends(), runs),
}


def main() -> None:
    asked = options()
    draw = drawing() if asked.plot else None  # who lacks matplotlib is told before the runs
    torch.set_num_threads(1)
    study = Study(seeds=asked.seeds, rounds=asked.rounds)
    with TemporaryDirectory() as temporary:
        runs = Runs(asked.data or Path(temporary), images=asked.images, jobs=asked.jobs)
        for name in asked.tables:
            print(markdown(TABLES[name](study, runs)), end="\n\n", flush=True)
            if draw:
                draw(name, study, runs, asked.plot)


def drawing() -> Callable[[str, Study, Runs, Path], None]:
    try:
        from plots import plot
    except ImportError as exc:
        raise SystemExit(f"--plot: {exc}; pip install matplotlib, or leave it out") from exc
    return plot


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of {STEPS} steps a turn")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--data", type=Path, help="keep the runs in this folder")
    parser.add_argument("--images", type=Path, help="the folder of Fashion-MNIST")
    parser.add_argument("--jobs", type=int, default=2, help="so many runs at once")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="draw them, with matplotlib")
    asked = parser.parse_args()
    if min(asked.rounds, asked.jobs) < 1:
        parser.error("give --rounds and --jobs as 1 or more")
    return asked


if __name__ == "__main__":
    main()
