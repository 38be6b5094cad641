"""What a test needs of a service that really runs: see `tasuki.testing.faults`."""
