"""Whether rows are valid, asked of many at once."""
