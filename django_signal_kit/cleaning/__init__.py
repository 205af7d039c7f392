"""Values are cleaned, and rows validated, whichever way they are written."""
