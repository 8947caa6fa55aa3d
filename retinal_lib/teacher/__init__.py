"""Prompts, and the teachers that answer them."""
