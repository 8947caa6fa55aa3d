"""What the cells and columns of a table say by themselves, without a page: eyes, ages, codes; pure functions."""
