"""Prompts, and who answers them."""
