"""What a row was, what it is, and how its values are written down."""
