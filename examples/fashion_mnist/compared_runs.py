"""Runs of `tasuki simulate` that differ in one thing each, and what became of them."""

import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import pstdev

from data import load
from net import Net, accuracy
from safetensors.torch import load_file

HERE = Path(__file__).parent
SITES = 8
EVALUATIONS = 30  # of a run at most, however often it transfers


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A run: what is put into `compare.toml`. `patience`: in rounds."""

    seed: int
    rounds: int
    steps: int
    order: str = "random_without_same_in_a_row"
    patience: int | None = None

    @property
    def name(self) -> str:
        patience = f"-patience-{self.patience}" if self.patience else ""
        return f"{self.order}-{self.rounds}x{self.steps}{patience}-seed-{self.seed}"

    def run_file(self, images: Path | None) -> str:
        template = (HERE / "compare.toml").read_text()
        stop = f'\n[stop]\nmetric = "accuracy"\npatience = {self.patience}\n'
        return template.format(
            name=self.name,
            rounds=self.rounds,
            order=self.order,
            seed=self.seed,
            steps=self.steps,
            sites=SITES,
            every=-(-self.rounds // EVALUATIONS),
            stop=stop if self.patience else "",
            images=f"data = {json.dumps(str(images))}" if images else "",
        )


@dataclass(frozen=True, kw_only=True)
class Went:
    """What was said of a run's rounds, counted from 1.

    Attributes:
        rolling: the mean of what the round's sites said of what they received.
        mean, worst: of what all sites say of the weights that the round ended with.
        test: what those weights score on the test images.
    """

    rolling: dict[int, float]
    mean: dict[int, float]
    worst: dict[int, float]
    test: dict[int, float]

    @property
    def last(self) -> int:
        return max(self.test)

    @property
    def swing(self) -> float:
        """Of the second half of the run, on the test images: a standard deviation."""
        return pstdev(value for number, value in self.test.items() if number > self.last / 2)

    def best(self, said: dict[int, float]) -> int:
        """The round of which the most was said; of equals, the first."""
        return max(sorted(self.test), key=said.__getitem__)

    def turns_to(self, target: float) -> int | None:
        """How many turns it took until all sites on average said so much."""
        reached = [number for number, value in self.mean.items() if value >= target]
        return min(reached) * SITES if reached else None


class Runs:
    """Makes runs in a folder, or takes those that it has.

    Args:
        images: a folder of Fashion-MNIST; by default the one of Debian's package.
        jobs: so many at once.
    """

    def __init__(self, folder: Path, *, images: Path | None, jobs: int) -> None:
        self.images = images
        self._folder = folder
        self._workers = ThreadPoolExecutor(jobs)
        self._known: dict[Setting, Went] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for source in ("data.py", "net.py", "train.py"):
            shutil.copy(HERE / source, folder)

    def went(self, settings: Iterable[Setting]) -> list[Went]:
        """Of each of them; what was asked before is not made again."""
        return list(self._workers.map(self._one, settings))

    def _one(self, setting: Setting) -> Went:
        if setting not in self._known:
            self._known[setting] = self._went(setting)
        return self._known[setting]

    def _went(self, setting: Setting) -> Went:
        run_file = self._folder / f"{setting.name}.toml"
        run_file.write_text(setting.run_file(self.images))
        is_begun = self._data(setting).exists()
        self._tasuki("simulate", run_file, setting, *(["--resume"] if is_begun else []))
        went = self._scored(setting, self._tasuki("scores", setting.name, setting))
        print(f"{setting.name}: {went.last} rounds", file=sys.stderr, flush=True)
        return went

    def _scored(self, setting: Setting, scores: dict) -> Went:
        (rolling,) = (each["rounds"] for each in scores["rolling"] if each["metric"] == "accuracy")
        (evaluated,) = (each["rows"] for each in scores["evaluated"])
        return Went(
            rolling={row["round"]: row["mean"] for row in rolling},
            mean={row["round"]: row["mean"] for row in evaluated},
            worst={row["round"]: row["worst"] for row in evaluated},
            test={row["round"]: self._test(setting, row["round"]) for row in evaluated},
        )

    def _test(self, setting: Setting, number: int) -> float:
        kept = self._data(setting) / "runs" / setting.name / f"round-{number:04}.safetensors"
        net = Net()
        net.load_state_dict(load_file(kept))
        return accuracy(net, *self._test_images)

    @functools.cached_property
    def _test_images(self) -> tuple:
        return load(str(self.images) if self.images else None, train=False)

    def _data(self, setting: Setting) -> Path:
        return self._folder / "data" / setting.name

    def _tasuki(self, command: str, what: str | Path, setting: Setting, *options: str) -> dict:
        """What the command says, as JSON."""
        words = [command, what, "--data", self._data(setting), "--json", *options]
        ended = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "tasuki_cli.main", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise SystemExit(f"tasuki {command} {what} failed:\n{ended.stderr}")
        return json.loads(ended.stdout.splitlines()[-1])
