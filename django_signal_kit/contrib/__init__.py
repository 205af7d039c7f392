"""What other libraries are given: each module is imported by whoever has the library."""
