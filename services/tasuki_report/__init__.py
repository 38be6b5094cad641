"""A run's report: one page that needs no server, and its numbers as CSV."""
