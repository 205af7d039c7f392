"""A row says itself when, and by whom, it was changed last."""
