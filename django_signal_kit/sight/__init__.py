"""What ran: traces of signals, receivers and flushes."""
