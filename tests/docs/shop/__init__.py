"""The app that the pages of the documentation speak of."""
