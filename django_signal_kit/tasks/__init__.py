"""Flushing in a background task. As an app of its own it has the table of the outbox."""
