"""People look and decide."""
