"""A second reader: a model that compares accepted conversations, sentence by sentence, with their facts."""
