"""The controller: order, rounds, leases, checkpoints. Imports without torch."""
