"""Rendering and sending mail."""
