"""For packages of others: each module needs the one that it is for."""
