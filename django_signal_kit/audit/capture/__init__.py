"""``AuditLog(capture="triggers")``: entries that the database writes itself."""
