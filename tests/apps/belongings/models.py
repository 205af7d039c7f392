"""What belongs to something else, in each of the ways in which it can."""

import uuid

from django.conf import settings
from django.db import models


class Visible(models.Manager):
    def get_queryset(self):
        return super().get_queryset().filter(is_hidden=False)


class Profile(models.Model):
    """One for each user."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE)
    email = models.CharField(max_length=254, null=True)
    first_name = models.CharField(max_length=150, default="")
    theme = models.CharField(max_length=20, default="light")
    code = models.CharField(max_length=20, null=True, unique=True)
    data = models.JSONField(default=dict)
    api_token = models.CharField(max_length=100, default="")
    is_hidden = models.BooleanField(default=False)
    updated_at = models.DateTimeField(null=True)
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )

    objects = Visible()

    def __str__(self):
        return f"Profile {self.theme}"


class Board(models.Model):
    """Has its key before it is there, and a code."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=100)
    code = models.CharField(max_length=50, unique=True)
    number = models.IntegerField(default=0)


class Column(models.Model):
    """Some for each board."""

    board = models.ForeignKey(Board, models.CASCADE, related_name="columns")
    name = models.CharField(max_length=100, default="")
    number = models.IntegerField(default=0)


class Passport(models.Model):
    """Points to the code of the board, and nothing points back."""

    board = models.OneToOneField(Board, models.CASCADE, to_field="code", related_name="+")


class Garden(models.Model):
    """Nothing but its key tells it from another."""

    name = models.CharField(max_length=100)


class Orchard(Garden):
    """A multi-table child."""

    trees = models.IntegerField(default=0)


class AnyGarden(Garden):
    class Meta:
        proxy = True


class Gate(models.Model):
    """One for each garden, and so for each orchard."""

    garden = models.OneToOneField(Garden, models.CASCADE)


class IronGate(Gate):
    """A multi-table child of what belongs to another."""

    weight = models.IntegerField(default=0)


class Treaty(models.Model):
    """Points to two, by foreign keys alike."""

    first = models.ForeignKey(Garden, models.CASCADE, related_name="+")
    second = models.ForeignKey(Garden, models.CASCADE, related_name="+")
