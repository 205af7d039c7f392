"""Each write that is heard, and how it becomes a unit of work."""
