"""Models that are rarer than those of testapp, and values that are stranger."""

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models


class Label(models.Model):
    """May belong to any row."""

    text = models.CharField(max_length=100)
    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.PositiveBigIntegerField()
    target = GenericForeignKey()

    def __str__(self):
        return self.text


class Reading(models.Model):
    """Values of the types that are hard to store truly."""

    class Size(models.TextChoices):
        SMALL = "s", "Small"
        LARGE = "l", "Large"

    text = models.TextField(default="")
    number = models.FloatField(null=True)
    amount = models.DecimalField(max_digits=20, decimal_places=4, null=True)
    whole = models.IntegerField(null=True)
    at = models.DateTimeField(null=True)
    lasted = models.DurationField(null=True)
    content = models.BinaryField(null=True)
    data = models.JSONField(null=True)
    size = models.CharField(max_length=1, choices=Size, default=Size.SMALL)
    labels = GenericRelation(Label)

    def __str__(self):
        return self.text


class OrderLine(models.Model):
    """A key of two columns."""

    pk = models.CompositePrimaryKey("order", "number")
    order = models.IntegerField()
    number = models.IntegerField()
    text = models.CharField(max_length=100, default="")

    def __str__(self):
        return self.text


class Speechless(models.Model):
    """Cannot say its name."""

    value = models.IntegerField(default=0)

    def __str__(self):
        raise RuntimeError("no name")


class LongKey(models.Model):
    """Its key is longer than most."""

    key = models.CharField(max_length=400, primary_key=True)
    value = models.IntegerField(default=0)

    def __str__(self):
        return self.key


class Keeper(models.Model):
    """Lets nobody delete what it keeps."""

    keeps = models.ForeignKey(Speechless, models.PROTECT)

    def __str__(self):
        return "keeper"
