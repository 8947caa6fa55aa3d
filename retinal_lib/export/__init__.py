"""Conversations in the forms that others read."""
