"""The settings of one small project for each engine."""
