"""`tasuki.broker.topology`, by the name under which scripts of before find it."""

from tasuki.broker.topology import Permissions, Sizes, definitions, topology

__all__ = ["Permissions", "Sizes", "definitions", "topology"]
