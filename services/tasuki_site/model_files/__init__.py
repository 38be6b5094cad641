"""Weights from and to files of the operator's own: a run's first weights, and what is exported."""
