"""Settings files: TOML in, frozen and checked models out."""
