"""Conversations reviewed by people: their decisions, error rates and agreement."""
