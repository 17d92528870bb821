"""Callers by the hundred: what they say, how they behave, what they heard. Used by ``benchmarks.bench``."""
