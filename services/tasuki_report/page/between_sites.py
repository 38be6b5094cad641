"""Charts of what sites have to do with each other: who scores whose model how, who forgets."""

from __future__ import annotations

from tasuki_report.numbers.forgetting import Forgotten
from tasuki_report.numbers.matrix import Matrix
from tasuki_report.page.chart import JSON, Chart, digits, of_which, round_axis, rows_high, said
from tasuki_report.page.palette import BLUE, SCALE, VERMILLION


def matrix(of: Matrix) -> Chart:
    """A square for each pair of sites that met."""
    sites = of.sites
    names = [said(site) for site in sites]
    cells = [[of.cells.get((row, column)) for column in sites] for row in sites]
    return Chart(
        title=of_which(of.metric, of.split),
        caption="Each row is a site that scored, each column the site where the scored model was "
        "trained last. "
        + (
            "The newest score of each pair; on the diagonal, what a site says of what it trained "
            "itself."
            if of.split is None
            else "All scores of a column are of one round's end, the newest that was evaluated; "
            "who was left out then has none."
        ),
        traces=[
            {
                "type": "heatmap",
                "x": names,
                "y": names,
                "z": [
                    digits(None if cell is None else cell.value for cell in row) for row in cells
                ],
                "customdata": [[cell and cell.round for cell in row] for row in cells],
                "colorscale": SCALE,
                "xgap": 1,
                "ygap": 1,
                "hovertemplate": "trained last at %{x}, scored at %{y}: %{z}, round %{customdata}"
                "<extra></extra>",
            }
        ],
        layout={
            "height": rows_high(len(sites)) + 60,
            "xaxis": {"title": {"text": "last trained at"}, "tickangle": 90, **_names(len(sites))},
            "yaxis": {
                "title": {"text": "scored at"},
                "autorange": "reversed",
                **_names(len(sites)),
            },
        },
    )


def _names(count: int) -> JSON:
    return {"type": "category", "showgrid": False, **({"dtick": 1} if count <= 60 else {})}


def newest(of: Forgotten) -> Chart | None:
    """What each site had forgotten when it last scored."""
    if not of.sites:
        return None
    values = list(of.sites.values())
    return Chart(
        title=f"{of_which(of.metric, of.split)}: forgotten, by site",
        caption="The site's score right after its own turn minus its newest score of weights that "
        "others have trained since (the other way round where less is better): to the right, the "
        "others' turns took something away from it; to the left, they gave.",
        traces=[
            {
                "type": "bar",
                "orientation": "h",
                "x": digits(values),
                "y": [said(site) for site in of.sites],
                "marker": {"color": [VERMILLION if value > 0 else BLUE for value in values]},
                "hovertemplate": "%{y}: %{x}<extra></extra>",
            }
        ],
        layout={
            "height": rows_high(len(of.sites)),
            "xaxis": {"title": {"text": "forgotten"}, "zerolinewidth": 2},
            "yaxis": {"autorange": "reversed", "type": "category", "dtick": 1},
        },
    )


def over_rounds(of: Forgotten) -> Chart | None:
    """Its mean over sites, as the run went on."""
    if len(of.rounds) < 2:
        return None
    return Chart(
        title=f"{of_which(of.metric, of.split)}: forgotten, by round",
        caption="The mean over the sites that can tell, all alike.",
        traces=[
            {
                "type": "scatter",
                "mode": "lines+markers" if len(of.rounds) <= 60 else "lines",
                "x": list(of.rounds),
                "y": digits(of.rounds.values()),
                "line": {"color": VERMILLION, "width": 2},
            }
        ],
        layout={
            "height": 280,
            "xaxis": round_axis(of.rounds),
            "yaxis": {"title": {"text": "forgotten"}, "zerolinewidth": 2},
        },
    )
