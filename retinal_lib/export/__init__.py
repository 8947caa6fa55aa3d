"""Conversations in the file formats of trainers and other tools, and the dataset card."""
