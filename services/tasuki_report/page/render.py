"""The page as HTML. Everything that others wrote is text in it, whatever it looks like.

Two walls: the template escapes whatever is not its own, and the page's policy lets no script run
but the two whose hashes it has, and nothing be fetched.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from importlib.resources import files

from tasuki.errors import SettingsError
from tasuki.installed import command_for
from tasuki.observe.printable import headline, printable
from tasuki.wire.strict_json import json_text
from tasuki_report.page import facts
from tasuki_report.page.palette import TEMPLATES
from tasuki_report.page.view import MOST_HAPPENED, MOST_LINKS, MOST_ROUNDS, View


def rendered(view: View) -> str:
    """One file, whole.

    Raises:
        SettingsError: what draws is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs
    except ImportError as exc:
        raise SettingsError(
            f"a report's page needs plotly and jinja2, its CSV does not: {command_for('report')}"
        ) from exc
    pages = Environment(
        loader=PackageLoader("tasuki_report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(
        said=printable,
        headline=headline,
        moment=facts.moment,
        duration=facts.duration,
        short=_short,
    )
    numbers = {id(chart): number for number, chart in enumerate(view.charts)}
    library, ours = _Script(get_plotlyjs()), _Script(_own("page.js"))
    return pages.get_template("page.html").render(
        view=view,
        numbers=lambda chart: numbers[id(chart)],
        most_happened=MOST_HAPPENED,
        most_links=MOST_LINKS,
        most_rounds=MOST_ROUNDS,
        style=Markup(_own("page.css")),  # noqa: S704 - our own file
        library=Markup(library.text),  # noqa: S704 - the library's, pinned by its hash
        script=Markup(ours.text),  # noqa: S704 - our own file
        hashes=" ".join(each.source for each in (library, ours)),
        charts=Markup(_data(view)),  # noqa: S704 - `_data` leaves nothing that ends a script
    )


@dataclass(frozen=True, slots=True)
class _Script:
    """What the page may run."""

    text: str

    @property
    def source(self) -> str:
        """As the page's policy names it."""
        digest = hashlib.sha256(self.text.encode()).digest()
        return f"'sha256-{b64encode(digest).decode()}'"


def _own(name: str) -> str:
    return files("tasuki_report.page").joinpath("templates", name).read_text(encoding="utf-8")


def _data(view: View) -> str:
    """What is drawn, as JSON in which no letter means anything to HTML."""
    found = {"templates": TEMPLATES, "charts": [chart.json for chart in view.charts]}
    text = json_text(found, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _short(digest: str | None) -> str:
    return (digest or "").partition(":")[2][:12]
