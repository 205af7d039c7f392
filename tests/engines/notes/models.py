"""What is written, and what the task notes of it."""

from django.db import models


class Order(models.Model):
    #: Chosen by the writer, so that one that was rolled back can be told from all others.
    key = models.CharField(max_length=40, unique=True)


class Note(models.Model):
    """The order ``key`` was flushed; once more for each time that it was."""

    key = models.CharField(max_length=40, db_index=True)
