"""Files that no row names any more are deleted."""
