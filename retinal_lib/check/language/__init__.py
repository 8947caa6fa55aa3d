"""English about eyes: terms, numbers, negation."""
