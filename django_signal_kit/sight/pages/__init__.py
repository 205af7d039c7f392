"""What the admin's page of signals shows, as data."""
