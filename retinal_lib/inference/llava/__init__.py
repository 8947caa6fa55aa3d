"""A LLaVA-v0 checkpoint on today's transformers."""
