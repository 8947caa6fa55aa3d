"""A run: from parameters to files."""
