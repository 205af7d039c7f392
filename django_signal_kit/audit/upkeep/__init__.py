"""What looks after a log that grows: pruning, partitions, export, backfill."""
