"""`tasuki provision`: kits for everyone, and the broker's definitions."""

from tasuki_cli.provision.command import Admin, Changes, run_provision

__all__ = ["Admin", "Changes", "run_provision"]
