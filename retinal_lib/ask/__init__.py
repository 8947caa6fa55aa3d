"""Sends requests to a teacher, at once or in batches, and stores every reply."""
