"""`tasuki init`: a run file and a trainer that train at once."""

from tasuki_cli.init.command import list_templates, run_init

__all__ = ["list_templates", "run_init"]
