"""Capture on PostgreSQL: the SQL of its triggers, and how they are told who writes."""
