"""What happens within a request: how long it takes, how much it loads, and how it fails."""
