"""The numbers of a report, from documents alone: what is drawn, and what the CSV files have."""
