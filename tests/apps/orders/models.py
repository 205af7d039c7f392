"""Rows that belong to others, which belong to others again."""

from django.conf import settings
from django.db import models


class Label(models.Model):
    name = models.CharField(max_length=100, default="")


class Customer(models.Model):
    name = models.CharField(max_length=100, default="")
    modified = models.DateTimeField(null=True)


class Order(models.Model):
    """Named by its number, not by its key."""

    number = models.CharField(max_length=20, unique=True)
    customer = models.ForeignKey(Customer, models.CASCADE, null=True)
    updated_at = models.DateTimeField(null=True)
    editor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )


class Line(models.Model):
    order = models.ForeignKey(Order, models.CASCADE, to_field="number", null=True)
    text = models.CharField(max_length=100, default="")
    amount = models.IntegerField(default=1)
    data = models.JSONField(default=dict)
    labels = models.ManyToManyField(Label, related_name="lines")
    updated_at = models.DateTimeField(null=True)


class GiftLine(Line):
    """A multi-table child."""

    card = models.CharField(max_length=100, default="")


class Node(models.Model):
    """In a tree, or in a circle."""

    parent = models.ForeignKey("self", models.CASCADE, null=True)
    name = models.CharField(max_length=100, default="")
    updated_at = models.DateTimeField(null=True)


class Day(models.Model):
    """Stamped by the day, and twice by Django itself."""

    name = models.CharField(max_length=100, default="")
    last_modified = models.DateField(null=True)
    auto_added = models.DateTimeField(auto_now_add=True)
    auto_changed = models.DateTimeField(auto_now=True)
