"""What a change made wrong is dropped from the cache."""
