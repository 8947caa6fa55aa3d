"""Masks to lesions, boxes, locations and words: pure functions."""
