"""Whether NVFlare's own scripts run here with changed imports: 2 sites, 2 rounds, each run twice.

    python benchmarks/nvflare_scripts.py --nvflare ~/NVFlare [--only hello-pt ...] [--list]

Each script's folder is copied and its lines are changed by the rules of `nvflare_rules.py`, which
are the tables of docs/nvflare.md. Downloads give way to the small data of `nvflare_data.py`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nvflare_list import SCRIPTS, Script
from nvflare_rules import rewrite
from rich.console import Console
from rich.table import Table

SITES, ROUNDS = 2, 2
LIMIT_S = 900  # of one run
KINDS = ("imports", "data", "machine", "own")

RUN = """
name = "script"
rounds = {rounds}
seed = 7
trainer = "script"
[weights]
initial = {initial}
[failure]
max_attempts = 1
[simulate]
sites = {sites}
trainer = {trainer}
{more}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What one run did."""

    digest: str = ""
    turns: int = 0
    moved: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A row of the table."""

    script: str
    changed: Mapping[str, int] = field(default_factory=dict)
    left: tuple[str, ...] = ()
    runs: tuple[Ran, ...] = ()
    seconds: float = 0.0
    missing: tuple[str, ...] = ()

    @property
    def failure(self) -> str:
        return next((run.failure for run in self.runs if run.failure), "")

    @property
    def is_same(self) -> bool:
        return bool(self.runs) and len({run.digest for run in self.runs}) == 1

    def cells(self) -> list[str]:
        if self.missing:
            return [self.script, *[""] * len(KINDS), f"needs {', '.join(self.missing)}", "", ""]
        counts = [str(self.changed.get(kind, 0)) for kind in KINDS]
        if self.failure:
            return [self.script, *counts, "fails", "", f"{self.seconds:.0f}"]
        moved = ", ".join(f"{run.moved} of {run.turns}" for run in self.runs)
        same = "yes" if self.is_same else "no"
        return [self.script, *counts, moved, same, f"{self.seconds:.0f}"]


def try_script(script: Script, nvflare: Path) -> Found:
    missing = tuple(name for name in script.needs if importlib.util.find_spec(name) is None)
    if missing:
        return Found(script=script.name, missing=missing)
    with tempfile.TemporaryDirectory() as name:
        return _try_in(Path(name), script, nvflare)


def _try_in(place: Path, script: Script, nvflare: Path) -> Found:
    folder = Path(shutil.copytree(nvflare / script.folder, place / "script"))
    shutil.copy(Path(__file__).with_name("nvflare_data.py"), folder / "small_data.py")
    changed, left = _change(folder, script)
    (folder / "run.toml").write_text(run_file(script))
    for command in script.prepare:
        subprocess.run(_words(command), cwd=folder, check=True, capture_output=True)
    began = time.perf_counter()
    environment = {name: value.format(folder=folder) for name, value in script.environment}
    runs = tuple(_run(folder, place / f"data-{n}", environment) for n in range(2))
    return Found(
        script=script.name,
        changed=changed,
        left=left,
        runs=runs,
        seconds=(time.perf_counter() - began) / len(runs),
    )


def _change(folder: Path, script: Script) -> tuple[dict[str, int], tuple[str, ...]]:
    if script.first:
        (folder / "first.py").write_text(script.first.lstrip())
    (name,) = re.findall(r"\S+\.py\b", script.trainer)[:1]
    new = rewrite((folder / name).read_text(), own=script.own)
    (folder / name).write_text(new.text)
    return dict(new.changed), new.left


def run_file(script: Script) -> str:
    return RUN.format(
        rounds=ROUNDS,
        sites=SITES,
        initial=json.dumps(script.initial),
        trainer=json.dumps(script.trainer),
        more=script.more,
    ).lstrip()


def _words(command: str) -> list[str]:
    first, *others = shlex.split(command)
    return [sys.executable if first == "python" else first, *others]


def _run(folder: Path, data: Path, environment: Mapping[str, str]) -> Ran:
    words = ["simulate", str(folder / "run.toml"), "--data", str(data), "--json"]
    try:
        done = _tasuki(*words, environment=environment)
    except subprocess.TimeoutExpired as exc:
        return Ran(failure=f"not over after {exc.timeout:.0f} s")
    if done.returncode != 0:
        return Ran(failure="\n".join((done.stderr or done.stdout).splitlines()[-25:]))
    rows = json.loads(_last_line(_tasuki("ledger", "script", "--data", str(data), "--json")))
    what = [row["what"] for row in rows["rows"] if row["event"] == "TurnFinished"]
    return Ran(
        digest=json.loads(_last_line(done))["digest"],
        turns=len(what),
        moved=sum(bool(re.search(r" trained \w+ -> \w+$", each)) for each in what),
    )


def _tasuki(
    *words: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tasuki_cli.main", *words],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.strip().splitlines()[-1]


def table(all_found: list[Found]) -> Table:
    shown = Table(
        "script", *KINDS, "turns that moved the weights", "same digest", "seconds",
        box=None, title=f"{SITES} sites, {ROUNDS} rounds, twice; lines changed by kind",
    )  # fmt: skip
    for found in all_found:
        shown.add_row(*found.cells())
    return shown


def show(all_found: list[Found]) -> None:
    console = Console(width=130)
    console.print(table(all_found))
    for found in all_found:
        for line in found.left:
            console.print(f"{found.script}: NVFlare is still imported: {line}", markup=False)
        if found.failure:
            console.print(f"\n{found.script} failed:\n{found.failure}", markup=False)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--nvflare", type=Path, help="a clone of NVFlare's repository")
    parser.add_argument("--only", nargs="+", help="scripts by their names' beginning")
    parser.add_argument("--list", action="store_true", help="print the scripts' names")
    parser.add_argument("--json", action="store_true", help="print one object a script")
    options = parser.parse_args()
    if options.nvflare is None and not options.list:
        parser.error("say where a clone of https://github.com/NVIDIA/NVFlare is: --nvflare FOLDER")
    return options


def chosen(beginnings: list[str] | None) -> list[Script]:
    return [
        script
        for script in SCRIPTS
        if beginnings is None or script.name.startswith(tuple(beginnings))
    ]


def main() -> None:
    options = _options()
    scripts = chosen(options.only)
    if options.list:
        print("\n".join(script.name for script in scripts))
        return
    all_found = []
    for script in scripts:
        all_found.append(try_script(script, options.nvflare.resolve()))
        if options.json:
            sys.stdout.write(json.dumps(asdict(all_found[-1])) + "\n")
            sys.stdout.flush()
        elif sys.stderr.isatty():
            sys.stderr.write(f"{script.name} done\n")
    if not options.json:
        show(all_found)


if __name__ == "__main__":
    main()
