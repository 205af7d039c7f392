"""What a database has to hold after migrate, and what a new connection is told."""
