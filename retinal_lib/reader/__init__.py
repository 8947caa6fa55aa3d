"""A second reader: a model that compares the sentences of accepted conversations with their facts."""
