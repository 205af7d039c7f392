"""Is each row what the log says it is?"""
