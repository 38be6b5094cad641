"""`tasuki doctor`: what keeps a site or a controller from working, and what to do about it."""

from tasuki_cli.doctor.command import run_doctor

__all__ = ["run_doctor"]
