"""The kit's own signals."""

from django.dispatch import Signal

# Sent by the kit when a receiver with on_error="log", a receiver of a request signal or a flush
# after the commit failed. Arguments: receiver, signal_name (str, "flush" for a flush), exception.
receiver_failed = Signal()

# Sent by FileCleanup round the deletion of one file, after the commit.
# Arguments: storage, name (str), receiver.
pre_file_delete = Signal()
post_file_delete = Signal()

# Sent by AuditLog after it wrote entries, inside the transaction of the write.
# Arguments: entries (list of the audit model's instances), using (alias of the log's database).
audit_entries_created = Signal()
