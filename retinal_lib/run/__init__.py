"""Carries out a run, from its parameters to its files."""
