"""A small project for each package that keeps a log of changes, to be measured side by side."""
