"""What a teacher gets of a case, the slots that it writes, their filling, and the check of what it wrote."""
