"""What `compare.py` compares, drawn."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import matplotlib as mpl
from compared_runs import SITES, Runs, Setting, Went
from matplotlib.axes import Axes
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from compare import Rows, Study

# Colours that are told apart whatever colours one sees (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
LINES = ("-", "--", ":", "-.")
MARKS = {"last": "s", "best by rolling scores": "^", "best by evaluation, mean": "o"}


def plot(name: str, study: "Study", runs: Runs, folder: Path) -> None:
    """The picture that goes with a table, if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    match name:
        case "shipped":
            save(shipped(study.plain, runs.went(study.plain)), folder / "shipped.svg")
        case "order":
            save(compared(study.orders(), runs), folder / "order.svg")
        case "transfers":
            save(compared(study.transfers(), runs), folder / "transfers.svg")


def shipped(settings: Sequence[Setting], went: Sequence[Went]) -> Figure:
    """Each seed's run: what its rounds scored, and which of them would be shipped."""
    figure = Figure(figsize=(3 * len(went), 3), layout="constrained")
    panels = figure.subplots(1, len(went), sharey=True, squeeze=False)[0]
    for axes, setting, one in zip(panels, settings, went, strict=True):
        axes.plot(*zip(*one.test.items(), strict=True), color=COLOURS[0], label="test images")
        axes.plot(
            *zip(*one.mean.items(), strict=True), LINES[2], color=COLOURS[1], label="evaluation"
        )
        chosen = (one.last, one.best(one.rolling), one.best(one.mean))
        for (name, mark), number in zip(MARKS.items(), chosen, strict=True):
            axes.plot(number, one.test[number], mark, color="black", fillstyle="none", label=name)
        axes.set(title=f"seed {setting.seed}", xlabel="round")
    panels[0].set_ylabel("accuracy")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def compared(rows: "Rows", runs: Runs) -> Figure:
    """Means over seeds, on the test images, by steps of training."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    looks = zip(COLOURS, LINES, strict=True)
    for look, (name, settings) in zip(looks, rows.items(), strict=False):
        curve(axes, settings[0], runs.went(settings), name=name, look=look)
    axes.set(xlabel="steps of training", ylabel="accuracy on the test images")
    axes.legend(fontsize="small")
    return figure


def curve(
    axes: Axes, setting: Setting, went: Sequence[Went], *, name: str, look: tuple[str, str]
) -> None:
    rounds = list(went[0].test)
    steps = [number * SITES * setting.steps for number in rounds]
    colour, line = look
    means = [mean(one.test[number] for one in went) for number in rounds]
    axes.plot(steps, means, line, color=colour, label=name)


def save(figure: Figure, path: Path) -> None:
    """The same bytes for the same numbers."""
    with mpl.rc_context({"svg.hashsalt": "tasuki"}):
        figure.savefig(path, metadata={"Date": None})
