"""What a new connection is told, and who its session says is acting."""
