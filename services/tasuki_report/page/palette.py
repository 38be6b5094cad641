"""Colours that people with any kind of colour vision tell apart, by day and by night.

Those of lines are of Okabe and Ito, "Color Universal Design", without yellow and black, which are
not seen on white and on black. No colour stands alone: dashes, marks or words say the same.
"""

from __future__ import annotations

from typing import Any

ORANGE, SKY, GREEN = "#e69f00", "#56b4e9", "#009e73"
BLUE, VERMILLION, PURPLE, GREY = "#0072b2", "#d55e00", "#cc79a7", "#888888"
LINES = (SKY, ORANGE, GREEN, VERMILLION, PURPLE, BLUE, GREY)
MARKS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "x")
SCALE = "Cividis"  # of the library; made for colour-blind readers, and it prints in grey


def faint(colour: str, share: float) -> str:
    """That colour, so far from clear."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{share})"


def template(*, ink: str, lines: str, paper: str) -> dict[str, Any]:  # Any: the library's JSON
    """How every chart looks."""
    axis = {"gridcolor": lines, "linecolor": lines, "zerolinecolor": lines, "automargin": True}
    return {
        "layout": {
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"color": ink, "family": "system-ui, sans-serif", "size": 12},
            "hoverlabel": {"bgcolor": paper, "font": {"color": ink}, "bordercolor": lines},
            "colorway": list(LINES),
            "xaxis": axis,
            "yaxis": axis,
            "margin": {"t": 30, "r": 10, "b": 40, "l": 50},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "hovermode": "closest",
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": ink, "activecolor": ink},
        }
    }


TEMPLATES = {
    "light": template(ink="#1c1c1c", lines="#dddddd", paper="#ffffff"),
    "dark": template(ink="#e6e6e6", lines="#444444", paper="#1a1a1a"),
}
