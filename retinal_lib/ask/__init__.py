"""Many requests, now or later; every reply is kept."""
