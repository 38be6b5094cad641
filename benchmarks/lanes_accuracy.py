"""What several lanes do to the model: many simulated runs, and tables of how well they did.

    python benchmarks/lanes_accuracy.py [--data fashion_mnist photo10] [--alphas 0.1 0.5]
        [--seeds 1 2 3] [--lanes 1 2 4 8] [--rounds 8] [--lr-times 1] [--known FILE]

Eight sites with label skew. Each seed is another division of the images, other first weights and
other orders. A turn is as many steps at every site, and all lanes are merged after every round.
With `share` a round is a turn of each site, in the time of N / K turns one after the other; with
`all` it is K of them, in the time of N. So each number of lanes with each cover is one run, as long
as one lane's in wall time if all sites train at once, and its first rounds are the run with as many
steps as one lane's.

Which round is the best is decided by what all sites say of it, on images that they do not train on.
All numbers are accuracies on the test images, by which nothing was chosen: the mean over seeds, the
least and the most. `time to` is in turns, one after the other, and has one number for each seed.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from types import MappingProxyType, ModuleType

import torch
from lanes_accuracy_trainer import NETS, accuracy
from safetensors.torch import save_file
from torch import Tensor

import tasuki
from tasuki.core.model import Cover
from tasuki.core.scores import swing
from tasuki_cli.records import LocalArchive

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
SITES = 8
ROUNDS = 8
LAST = 5  # rounds, of which there is the swing
BATCH = 32
LEAST = 64  # images at a site
SOME = 8_000  # of Fashion-MNIST's 60,000: enough for runs as short as these

RUN = """
name = "lanes"
rounds = {rounds}
order = "random_without_same_in_a_row"
seed = {seed}
trainer = "lanes"
[weights]
initial = "initial.safetensors"
[params]
data = "{data}"
steps = {steps}
lr = {lr}
batch = {batch}
[lanes]
count = {lanes}
cover = "{cover}"
[evaluate]
every_n_rounds = 1
[checkpoint]
keep = {rounds}
best = "accuracy"
[simulate]
sites = {sites}
trainer = "lanes_accuracy_trainer:train"
data = {images}
"""

Labelled = tuple[Tensor, Tensor]
Line = list[str]


@functools.cache
def module(example: str) -> ModuleType:
    """The `data` of an example; there are two, so neither is on the path."""
    path = EXAMPLES / example / "data.py"
    spec = importlib.util.spec_from_file_location(f"{example}_data", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def fashion_mnist(*, train: bool) -> Labelled:
    """Some of the images to train on, and all to test on; pixels from -1 to 1."""
    images, labels = module("fashion_mnist").load(None, train=train)
    most = SOME if train else len(labels)
    return images[:most].flatten(start_dim=1).float().div(127.5).sub(1), labels[:most]


def photo10(*, train: bool) -> Labelled:
    """Of each square of 4 x 4 pixels the mean colour and how much it varies, times four."""
    images, labels = module("cifar10").photo10(train=train)
    pixels = torch.from_numpy(images).float().div(127.5).sub(1)
    squares = pixels.unfold(2, 4, 4).unfold(3, 4, 4).flatten(start_dim=4)
    varies = squares.std(dim=4, correction=0)
    numbers = torch.cat([squares.mean(dim=4), 4 * varies], dim=1)
    return numbers.flatten(start_dim=1), torch.from_numpy(labels).long()


@dataclass(frozen=True, kw_only=True)
class Task:
    """Images, as what the network takes, and how it learns them.

    Attributes:
        steps: of a turn, at every site.
        lr: one that suits a single lane, by a seed that is in no table.
        target: the accuracy that runs are to reach.
    """

    images: Callable[..., Labelled]
    steps: int
    lr: float
    target: float


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "fashion_mnist": Task(images=fashion_mnist, steps=10, lr=0.002, target=0.6),
        "photo10": Task(images=photo10, steps=20, lr=0.01, target=0.45),
    }
)


@functools.cache
def images_of(data: str, *, train: bool) -> Labelled:
    return TASKS[data].images(train=train)


# A run.


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A run. `one_lane`: the rounds of the run with one lane that it is compared with."""

    data: str
    alpha: float
    seed: int
    lanes: int
    cover: Cover
    one_lane: int
    lr: float

    @property
    def rounds(self) -> int:
        """As many as take as long as those of one lane, if sites train at once."""
        return self.one_lane * (self.lanes if self.cover is Cover.SHARE else 1)

    @property
    def as_many_steps(self) -> int:
        """The first rounds, with as many turns as those of one lane; one at least."""
        return max(1, self.one_lane * SITES // self.turns_a_round)

    @property
    def turns_a_round(self) -> int:
        return SITES * (1 if self.cover is Cover.SHARE else self.lanes)

    def __str__(self) -> str:
        return f"{self.data}, alpha {self.alpha}, seed {self.seed}, {self.lanes} x {self.cover}"


@dataclass(frozen=True, kw_only=True)
class Went:
    """Of each round, the first one first.

    Attributes:
        said: the mean of what all sites say of what it ended with.
        test: what that scores on the test images.
    """

    said: tuple[float, ...]
    test: tuple[float, ...]

    def first(self, rounds: int) -> Went:
        return Went(said=self.said[:rounds], test=self.test[:rounds])

    @property
    def best_round(self) -> int:
        """Of which the most was said, counted from 1; of equals, the first."""
        return 1 + max(range(len(self.said)), key=self.said.__getitem__)

    @property
    def best(self) -> float:
        """What the best round scores on the test images."""
        return self.test[self.best_round - 1]

    @property
    def swing(self) -> float | None:
        """Of the last rounds; None: there are too few."""
        return swing(self.test, last=LAST) if len(self.test) >= LAST else None

    def rounds_to(self, target: float) -> int | None:
        """Counted from 1; None: none came that far."""
        reached = (number for number, share in enumerate(self.test, 1) if share >= target)
        return next(reached, None)


def simulated(setting: Setting) -> Went:
    """Make the run, and score what each of its rounds ended with."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(HERE / "lanes_accuracy_trainer.py", folder)  # beside the run file
        begin(setting, folder / "initial.safetensors")
        divide(setting, folder / "images")
        run_file = folder / "run.toml"
        run_file.write_text(as_run_file(setting, folder / "images"))
        run = tasuki.simulate(run_file, data=folder / "data", wait=False).wait(show=False)
        found = LocalArchive(folder / "data").scores("lanes", metric=None, mode=None)
        (evaluated,) = found.evaluated
        assert [row.round for row in evaluated.rows] == list(range(1, setting.rounds + 1))
        went = Went(
            said=tuple(row.mean for row in evaluated.rows),
            test=tuple(score(setting, run.weights(row.round)) for row in evaluated.rows),
        )
        assert run.best_round is not None
        assert run.best_round.round == went.best_round
        return went


def as_run_file(setting: Setting, images: Path) -> str:
    task = TASKS[setting.data]
    return RUN.format(
        rounds=setting.rounds,
        seed=setting.seed,
        lanes=setting.lanes,
        cover=setting.cover,
        steps=task.steps,
        batch=BATCH,
        lr=setting.lr,
        sites=SITES,
        data=setting.data,
        images=json.dumps(str(images)),
    )


def begin(setting: Setting, path: Path) -> None:
    """First weights: another seed's are others."""
    torch.manual_seed(setting.seed)
    save_file(NETS[setting.data]().state_dict(), path)


def divide(setting: Setting, folder: Path) -> None:
    """A file for each site, with what it trains on and what it judges by."""
    data = module("fashion_mnist")
    images, labels = images_of(setting.data, train=True)
    parts = data.dirichlet_split(
        labels.numpy(), shards=SITES, alpha=setting.alpha, seed=setting.seed, least=LEAST
    )
    folder.mkdir()
    for number, part in enumerate(parts, start=1):
        trained, judged = data.held_out(images[part], labels[part])
        has = {"images": trained[0], "labels": trained[1]}
        has |= {"judged_images": judged[0], "judged_labels": judged[1]}
        whole = {name: tensor.contiguous() for name, tensor in has.items()}
        save_file(whole, folder / f"site-{number}.safetensors")


def score(setting: Setting, weights: Mapping[str, Tensor]) -> float:
    net = NETS[setting.data]()
    net.load_state_dict(weights)
    return accuracy(net, *images_of(setting.data, train=False))


# All of them.


@dataclass(frozen=True, kw_only=True)
class Study:
    """The runs that are compared with each other are of the same data and alpha."""

    seeds: Sequence[int]
    lanes: Sequence[int]
    rounds: int
    lr_times: float = 1

    def lr(self, data: str) -> float:
        return round(TASKS[data].lr * self.lr_times, 9)

    def rows(self, data: str, alpha: float) -> Iterator[list[Setting]]:
        """A run for each seed; of one lane there is one cover."""
        for cover in Cover:
            for lanes in self.lanes:
                if lanes > 1 or cover is Cover.SHARE:
                    yield [
                        Setting(
                            data=data,
                            alpha=alpha,
                            seed=seed,
                            lanes=lanes,
                            cover=cover,
                            one_lane=self.rounds,
                            lr=self.lr(data),
                        )
                        for seed in self.seeds
                    ]


class Runs:
    """Makes runs, or takes what is known of them.

    Args:
        known: a file with a line for each run, to which new ones are added.
    """

    def __init__(self, known: Path | None) -> None:
        self._file = known
        self._known: dict[str, Went] = {}
        if known is not None and known.exists():
            for line in map(json.loads, known.read_text().splitlines()):
                self._known[line["run"]] = Went(said=tuple(line["said"]), test=tuple(line["test"]))

    def went(self, setting: Setting) -> Went:
        key = json.dumps([asdict(setting), as_run_file(setting, Path())])
        if key not in self._known:
            began = time.monotonic()
            self._known[key] = simulated(setting)
            took = time.monotonic() - began
            print(f"{setting}: {setting.rounds} rounds, {took:.0f} s", file=sys.stderr, flush=True)
            self._keep(key)
        return self._known[key]

    def _keep(self, key: str) -> None:
        if self._file is not None:
            with self._file.open("a") as lines:
                print(json.dumps({"run": key, **asdict(self._known[key])}), file=lines)


# Tables.


def table(rows: Sequence[Sequence[Setting]], runs: Runs) -> Iterator[Line]:
    """What the first rounds of each run came to, as many steps as one lane's, and what all did."""
    target = TASKS[rows[0][0].data].target
    head = ["lanes", "cover", "equal steps: rounds", "best", f"swing of {LAST}"]
    head += ["equal time: rounds", "best", f"swing of {LAST}"]
    yield [*head, f"rounds to {target:.0%}", f"time to {target:.0%}"]
    for settings in rows:
        one = settings[0]
        whole = [runs.went(each) for each in settings]
        first = [each.first(one.as_many_steps) for each in whole]
        reached = [each.rounds_to(target) for each in whole]
        took = [number and number * one.turns_a_round // one.lanes for number in reached]
        yield [
            str(one.lanes),
            one.cover if one.lanes > 1 else "-",
            *(str(one.as_many_steps), *best_and_swing(first)),
            *(str(one.rounds), *best_and_swing(whole)),
            *(each_seed(reached), each_seed(took)),
        ]


def best_and_swing(went: Sequence[Went]) -> tuple[str, str]:
    return over_seeds(each.best for each in went), over_seeds(each.swing for each in went)


def each_seed(numbers: Iterable[int | None]) -> str:
    return " / ".join("never" if number is None else str(number) for number in numbers)


def over_seeds(shares: Iterable[float | None]) -> str:
    """The mean, and from the least to the most."""
    known = [share for share in shares if share is not None]
    if not known:
        return "-"
    return f"{mean(known):.1%} ({100 * min(known):.1f} to {100 * max(known):.1f})"


def markdown(lines: Iterable[Line]) -> str:
    head, *rows = lines
    rule = ["---:", "---", *["---:"] * (len(head) - 2)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


def shown(study: Study, runs: Runs, data: str, alpha: float) -> str:
    rows = list(study.rows(data, alpha))
    return f"{data}, alpha = {alpha}, lr = {study.lr(data)}:\n\n" + markdown(table(rows, runs))


def documents(study: Study, runs: Runs, data: str, alpha: float) -> Iterator[dict[str, object]]:
    for settings in study.rows(data, alpha):
        for each in settings:
            yield {**asdict(each), "first": each.as_many_steps, **asdict(runs.went(each))}


def main() -> None:
    asked = options()
    torch.set_num_threads(1)
    study = Study(
        seeds=asked.seeds, lanes=asked.lanes, rounds=asked.rounds, lr_times=asked.lr_times
    )
    runs = Runs(asked.known)
    for data in asked.data:
        for alpha in asked.alphas:
            if asked.as_json:
                for each in documents(study, runs, data, alpha):
                    print(json.dumps(each), flush=True)
            else:
                print(shown(study, runs, data, alpha), end="\n\n", flush=True)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="what several lanes do to the model")
    parser.add_argument("--data", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--alphas", type=float, nargs="+", default=[0.1, 0.5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of one lane")
    parser.add_argument("--lr-times", type=float, default=1, help="times what suits one lane")
    parser.add_argument("--known", type=Path, help="keep how runs went here, and make none twice")
    parser.add_argument("--json", action="store_true", dest="as_json", help="a line for each run")
    asked = parser.parse_args()
    if not all(1 <= lanes <= SITES for lanes in asked.lanes):
        parser.error(f"give --lanes from 1 to {SITES}: each lane needs a site to begin with")
    if asked.rounds < 1 or min(*asked.alphas, asked.lr_times) <= 0:
        parser.error("give --rounds as 1 or more, --alphas and --lr-times above 0")
    return asked


if __name__ == "__main__":
    main()
