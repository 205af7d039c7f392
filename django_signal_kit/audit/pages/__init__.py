"""What the admin shows of the log."""
