"""Rows that belong together: made, counted, limited and cleaned up with each other."""
