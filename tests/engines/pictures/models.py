"""What is written, and what has to go because of that."""

from django.db import models


class Picture(models.Model):
    key = models.CharField(max_length=40, unique=True)
    file = models.FileField(upload_to="pictures", max_length=200, blank=True)


class Doomed(models.Model):
    """The file ``name``, which no picture has any more: written in the same transaction."""

    name = models.CharField(max_length=200, unique=True)
