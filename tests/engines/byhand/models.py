"""What is written, and what the task notes of it."""

from django.db import models


class Order(models.Model):
    key = models.CharField(max_length=40, unique=True)


class Note(models.Model):
    key = models.CharField(max_length=40, db_index=True)
