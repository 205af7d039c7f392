"""What is written."""

from django.db import models


class Page(models.Model):
    key = models.CharField(max_length=40, unique=True)
