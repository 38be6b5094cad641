"""The examples, as their pages say to run them; those for other frameworks above all."""

from __future__ import annotations

import functools
import gzip
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from support.frameworks import need
from support.simulation import Outcome, simulate, tasuki

EXAMPLES = Path(__file__).parents[2] / "examples"
NEEDS = {
    "lightning": ("lightning",),
    "huggingface_lora": ("transformers", "peft", "accelerate"),
    "tensorflow": ("tensorflow", "keras"),
    "digits": ("torch", "sklearn"),
    "cifar10": ("torch",),
    "fashion_mnist": ("torch",),
}
FRAMEWORKS = ("lightning", "huggingface_lora", "tensorflow")
# How long a turn of each example lasts: (its run file, where that is said, how).
LASTS = {
    "lightning": ("run.toml", "client.py", "max_epochs=2"),
    "huggingface_lora": ("run.toml", "client.py", "num_train_epochs=1"),
    "tensorflow": ("run.toml", "client.py", "EPOCHS = 2"),
    "digits": ("run.toml", "run.toml", "epochs = 2"),
    "cifar10": ("run.toml", "run.toml", "epochs = 3"),
    "cifar10/client_api": ("client_api.toml", "client_api.py", "EPOCHS = 3"),
    "fashion_mnist": ("run.toml", "run.toml", "steps = 200"),
}
# Frameworks are long in coming on a busy machine; a simulation itself has `RUN_S`.
pytestmark = pytest.mark.timeout(900)
RUN_S = 400
Undisturbed = Callable[[str], tuple[Path, Outcome]]


def copied(example: str, folder: Path) -> Path:
    need(*NEEDS[example])
    return Path(shutil.copytree(EXAMPLES / example, folder / example)) / "run.toml"


def ran(run: Path, *options: str) -> Outcome:
    ended = simulate(run, *options, timeout_s=RUN_S)
    assert ended.code == 0, ended.err
    return ended


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The run of an example as it is, made once: its file and how it ended."""

    @functools.cache
    def made(example: str) -> tuple[Path, Outcome]:
        run = copied(example, tmp_path_factory.mktemp("undisturbed"))
        return run, ran(run)

    return made


def moved(run: Path) -> list[bool]:
    """Whether each turn that trained handed on other weights than it received."""
    (name,) = re.findall(r'^name = "(.*)"$', run.read_text(), re.MULTILINE)
    rows = tasuki("ledger", name, "--data", run.parent / "data", "--json").last["rows"]
    finished = [row["what"] for row in rows if row["event"] == "TurnFinished"]
    trained = [what for what in finished if " scored " not in what]
    return [bool(re.search(r" trained \w+ -> \w+$", what)) for what in trained]


@pytest.mark.parametrize("example", FRAMEWORKS)
def test_every_turn_of_an_example_trains(example: str, undisturbed: Undisturbed) -> None:
    run, ended = undisturbed(example)
    metrics = ended.last["metrics"]
    rounds = 2 if example == "huggingface_lora" else 3
    assert [True] * 3 * rounds == moved(run)
    if example == "huggingface_lora":
        assert metrics["eval_loss"] < 5.4  # it begins with 5.6
    else:
        assert metrics["accuracy"] > 0.85


def test_a_turn_of_lightning_that_a_new_process_repeats_repeats_itself(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    _, whole = undisturbed("lightning")
    killed = copied("lightning", tmp_path)
    script = killed.with_name("client.py")
    dies = (
        '        if trainer.current_epoch == 2 and flare.get_site_name() == "site-1":\n'
        "            import os, pathlib\n"
        f'            flag = pathlib.Path("{tmp_path}/died")\n'
        "            if not flag.exists():\n"
        "                flag.touch()\n"
        "                os._exit(1)\n"
    )
    loop = "    while flare.is_running():\n"
    assert loop in script.read_text()
    script.write_text(script.read_text().replace(loop, loop + dies))
    assert whole.last["digest"] == ran(killed).last["digest"]
    assert (tmp_path / "died").exists()


def clothing(folder: Path) -> None:
    """Files such as Fashion-MNIST's, with a few images that nobody has seen."""
    folder.mkdir()
    for part in ("train", "t10k"):
        for kind, sizes in (("images-idx3", (640, 28, 28)), ("labels-idx1", (640,))):
            head = bytes([0, 0, 8, len(sizes)]) + np.array(sizes, ">u4").tobytes()
            values = np.arange(np.prod(sizes)).astype(np.uint8) % 10
            packed = gzip.compress(head + values.tobytes())
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(packed)


def test_the_choices_of_fashion_mnist_are_compared_and_drawn(tmp_path: Path) -> None:
    need("torch", "safetensors", "matplotlib")
    clothing(tmp_path / "clothing")
    ended = subprocess.run(
        [
            *(sys.executable, EXAMPLES / "fashion_mnist" / "compare.py"),
            *("--tables", "shipped", "--seeds", "1", "--rounds", "2"),
            *("--images", tmp_path / "clothing", "--plot", tmp_path / "plots"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_S,
    )
    assert (0, "") == (ended.returncode, "" if ended.returncode == 0 else ended.stderr)
    head, _, *rows = ended.stdout.strip().splitlines()
    assert "| shipped | seed 1 | mean |" == head
    page = (EXAMPLES / "fashion_mnist" / "README.md").read_text()
    shown = page[page.index("| shipped |") :].partition("\n\n")[0].splitlines()[2:]
    assert [line.split("|")[1] for line in shown] == [line.split("|")[1] for line in rows]
    assert ["shipped.svg"] == [path.name for path in (tmp_path / "plots").iterdir()]


@pytest.mark.parametrize("example", LASTS)
def test_a_budget_in_seconds_ends_a_turn_of_an_example_early(example: str, tmp_path: Path) -> None:
    """Else a turn would last for days."""
    run_file, place, lasts = LASTS[example]
    run = copied(example.partition("/")[0], tmp_path).with_name(run_file)
    said = run.with_name(place).read_text()
    assert lasts in said
    run.with_name(place).write_text(said.replace(lasts, f"{lasts}000000"))
    data = f'data = "{tmp_path / "clothing"}"\n'
    clothing(tmp_path / "clothing")
    text = run.read_text().replace("rounds = 3", "rounds = 1").replace("rounds = 5", "rounds = 1")
    text = text.replace("rounds = 2", "rounds = 1") + (data if "fashion" in example else "")
    run.write_text(f"{text}\n[budget]\nseconds = 1\n")
    assert 2 == ran(run, "--sites", "2").last["turns"]
    assert [True, True] == moved(run)


def test_tensorflow_is_seeded_so_that_a_run_repeats_itself(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    _, first = undisturbed("tensorflow")
    again = ran(copied("tensorflow", tmp_path))
    assert first.last["digest"] == again.last["digest"]


def test_of_a_trainer_in_two_processes_only_rank_0_has_a_result(tmp_path: Path) -> None:
    """Bug: each rank was rank 0, so that what the slower one handed over counted as well."""
    run = copied("lightning", tmp_path)
    script = run.with_name("client.py")
    two = (
        ("import lightning\n", "import lightning\nimport math\n"),
        (
            'accelerator="cpu",',
            'accelerator="cpu", strategy="ddp", devices=2, callbacks=[Spoil()],',
        ),
        (
            "def main() -> None:\n",
            "class Spoil(lightning.Callback):\n"
            "    def on_train_end(self, trainer, module):\n"
            "        for weights in module.parameters() if trainer.global_rank else []:\n"
            "            weights.data.fill_(math.nan)\n\n\n"
            "def main() -> None:\n",
        ),
    )
    for own, instead in two:
        assert own in script.read_text()
        script.write_text(script.read_text().replace(own, instead))
    settings = run.read_text().replace('trainer = "client.py"', 'trainer = "python client.py"')
    run.write_text(settings.replace("rounds = 3", "rounds = 1").replace("sites = 3", "sites = 2"))
    ran(run)
    assert [True, True] == moved(run)
