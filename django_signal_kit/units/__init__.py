"""The unit of work: what receivers collect, when it is flushed, and what a rollback takes back."""
