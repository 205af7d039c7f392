"""One welcome to each new user."""
