"""Mails about rows: one welcome to each new user. With the app installed, each is remembered."""
