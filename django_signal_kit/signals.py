"""The kit's own signals."""

from django.dispatch import Signal

# Sent round the writes about which Django is silent, in their transaction, with the model as
# sender and with the argument using.

# objs (list), ignore_conflicts, update_conflicts, unique_fields, update_fields (of the upsert; a
# list that a receiver of pre_ may extend, or None).
pre_bulk_create = Signal(use_caching=True)
post_bulk_create = Signal(use_caching=True)

# objs (list), fields (a set of names; a receiver of pre_ may add to it), and, after the write,
# count (how many rows matched).
pre_bulk_update = Signal(use_caching=True)
post_bulk_update = Signal(use_caching=True)

# queryset, values (a dict by field name; a receiver of pre_ may add to it), rows (if a receiver of
# the model has bulk="all", a list of instances with the old, then the new values; else None), and,
# after the write, count.
pre_queryset_update = Signal(use_caching=True)
post_queryset_update = Signal(use_caching=True)

# Sent by the kit when a receiver with on_error="log", a receiver of a request signal or a flush
# after the commit or in a task failed for good. Arguments: receiver, signal_name (str, "flush" for
# a flush), exception, items (a list, what was not flushed because of it).
receiver_failed = Signal()

# Sent by FileCleanup round the removal of one file, after the commit. Arguments: storage, name
# (str), receiver, and model, field (its name), key and using of the row that named it, the first
# three None if no row is known. A receiver of pre_ that returns False keeps the file; post_ has
# success (bool) and exception (None if it went).
pre_file_delete = Signal()
post_file_delete = Signal()

# Sent by AuditLog after it wrote entries, inside the transaction of the write.
# Arguments: entries (list of the audit model's instances), using (alias of the log's database).
audit_entries_created = Signal()
