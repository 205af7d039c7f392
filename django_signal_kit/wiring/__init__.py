"""From the settings to connected receivers: which there are, what they hear, and who is muted."""
