"""Seals: a log that cannot be altered unnoticed."""
