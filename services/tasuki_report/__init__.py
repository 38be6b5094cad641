"""A run's report: one page that needs no server, and its numbers as CSV.

`collect` asks a data folder or a controller for what is told; nothing else asks anybody.
"""

from tasuki_report.material import Material, Source, collect
from tasuki_report.writing import write_csv, write_report

__all__ = ["Material", "Source", "collect", "write_csv", "write_report"]
