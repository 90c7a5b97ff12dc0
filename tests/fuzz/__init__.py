"""Fuzzing of all that reads what others wrote; what was found stays in ``corpus``."""
