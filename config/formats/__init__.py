"""How dates are written, by language; Django's own for English are American."""
