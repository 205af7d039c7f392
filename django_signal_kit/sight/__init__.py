"""What ran: traces of signals, receivers and flushes; what they did and cost: counters."""
