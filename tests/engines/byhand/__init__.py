"""The same as ``notes`` by hand: a task is enqueued after the commit, and that is all."""
