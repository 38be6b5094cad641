"""One site: take a turn, train, hand over."""
