"""What there is to begin with: a folder of files for each, in `templates`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from tasuki.errors import SettingsError
from tasuki.spelling import did_you_mean

NAME = "{{name}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Attributes:
    needs: what pip installs for it, beside Tasuki; nothing if it is there already.
    """

    name: str
    about: str
    needs: str

    def files(self, *, run: str) -> dict[str, str]:
        """Name -> text, the run's name filled in."""
        folder: Traversable = resources.files("tasuki_cli.init") / "templates" / self.name
        texts = {each.name: each.read_text("utf-8") for each in folder.iterdir() if each.is_file()}
        return {name: text.replace(NAME, run) for name, text in sorted(texts.items())}


TEMPLATES = {
    template.name: template
    for template in (
        Template(name="torch", about="PyTorch, a function for each turn", needs="torch"),
        Template(name="lightning", about="PyTorch Lightning's Trainer", needs="torch lightning"),
        Template(
            name="huggingface",
            about="Hugging Face's Trainer",
            needs="torch transformers accelerate",
        ),
        Template(name="keras", about="Keras, with TensorFlow", needs="tensorflow keras"),
        Template(name="numpy", about="NumPy alone", needs=""),
        Template(name="sklearn", about="scikit-learn", needs="scikit-learn"),
        Template(
            name="nvflare-script", about="a script for NVFlare's Client API, on NumPy", needs=""
        ),
    )
}


def template_named(name: str) -> Template:
    """Raises SettingsError: there is none of that name."""
    if name in TEMPLATES:
        return TEMPLATES[name]
    hint = did_you_mean(name, TEMPLATES, after=" ")
    raise SettingsError(f"there is no template {name!r}; {hint}known: {', '.join(TEMPLATES)}")
