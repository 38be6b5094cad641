"""Runs from Python: simulated in a notebook or a script, or at a controller.

`import tasuki` has the same names, and imports this when they are first used.
"""

from tasuki_python.connecting import Federation, connect
from tasuki_python.happening import Happening
from tasuki_python.run import Run
from tasuki_python.simulating import simulate

__all__ = ["Federation", "Happening", "Run", "connect", "simulate"]
