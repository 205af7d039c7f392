"""A scenario: every order is noted by a task. See ``scenario.py``."""
