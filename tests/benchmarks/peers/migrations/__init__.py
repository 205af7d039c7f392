"""Empty: which tables there are depends on the package, so the worker makes them itself."""
