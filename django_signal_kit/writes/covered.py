"""The models of which receivers hear."""

from __future__ import annotations

from django.db.models import Model

# Model, or through model for m2m -> does a receiver of it flush before the commit?
saved: dict[type[Model], bool] = {}
deleted: dict[type[Model], bool] = {}
linked: dict[type[Model], bool] = {}
