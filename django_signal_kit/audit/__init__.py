"""The audit log's table and admin pages, an app of its own."""
