"""Rows that are valid, or not: every kind of rule that a model may have."""

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower


def refuse_spam(value):
    if "spam" in value:
        raise ValidationError("No spam.", code="spam")


class Country(models.Model):
    code = models.CharField(max_length=2, primary_key=True)
    is_open = models.BooleanField(default=True)


class Hotel(models.Model):
    name = models.CharField(max_length=20, unique=True, validators=[refuse_spam])
    country = models.ForeignKey(
        Country, models.CASCADE, null=True, blank=True, limit_choices_to={"is_open": True}
    )
    stars = models.IntegerField(default=1, choices=[(n, str(n)) for n in range(1, 6)])
    email = models.EmailField(blank=True)
    rooms = models.IntegerField(default=1, validators=[MaxValueValidator(1000)])
    free_rooms = models.IntegerField(default=0)
    street = models.CharField(max_length=20, default="Main")
    number = models.IntegerField(null=True, blank=True)
    slug = models.SlugField(default="", blank=True)
    is_active = models.BooleanField(default=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        unique_together = [("street", "number")]
        constraints = [
            models.CheckConstraint(condition=Q(free_rooms__lte=F("rooms")), name="hotel_free"),
            models.CheckConstraint(
                condition=Q(rooms__gte=0),
                name="hotel_rooms",
                violation_error_message="Below zero.",
            ),
            models.UniqueConstraint(
                fields=["slug"], condition=~Q(slug="") & Q(is_active=True), name="hotel_slug"
            ),
            models.UniqueConstraint(Lower("name"), "street", name="hotel_lower_name"),
        ]

    def clean(self):
        if self.name == "Ritz" and self.stars in (1, 2):
            raise ValidationError({"stars": "The Ritz has more."})


class Resort(Hotel):
    """A multi-table child."""

    beach = models.CharField(max_length=20, unique=True)


class Booking(models.Model):
    hotel = models.ForeignKey(Hotel, models.CASCADE)
    code = models.CharField(max_length=10)
    day = models.DateField()
    guest = models.CharField(max_length=20, unique_for_date="day")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["code"], name="booking_code"),
        ]


class Visit(models.Model):
    """A country that a form has to ask for, and that may go."""

    country = models.ForeignKey(Country, models.SET_NULL, null=True)


class Room(models.Model):
    """Has a full_clean() of its own."""

    number = models.IntegerField()

    def full_clean(self, *args, **kwargs):
        super().full_clean(*args, **kwargs)
        if self.number == 13:
            raise ValidationError({"number": "Nobody sleeps there."})
