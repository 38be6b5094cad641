"""`tasuki provision`: kits for everyone, and the broker's definitions."""

from tasuki_cli.provision.changes import Changes
from tasuki_cli.provision.command import Admin, run_provision

__all__ = ["Admin", "Changes", "run_provision"]
