"""What is made, checked and replaced before and after ``migrate``."""
