"""Training a model on conversations, and a trial of it with drawn eyes and a tiny model."""
