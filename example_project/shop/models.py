"""What the shop keeps."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse


class Stamped(models.Model):
    """Says when and by whom a row was changed last. LastModified fills it in."""

    created_at = models.DateTimeField(null=True, editable=False)
    # Empty only in rows that were written past the receivers, such as by raw SQL.
    updated_at = models.DateTimeField(null=True, editable=False)
    updated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
    )

    class Meta:
        abstract = True


class Destination(models.Model):
    """A city that the shop sends parcels to."""

    geoname_id = models.PositiveIntegerField(unique=True)
    name = models.CharField(max_length=100)
    country = models.CharField("country code", max_length=2)
    population = models.PositiveIntegerField()
    latitude = models.FloatField()
    longitude = models.FloatField()

    class Meta:
        ordering = ("name", "country", "pk")
        indexes = (models.Index(fields=("name", "country", "id")),)
        constraints = (
            models.CheckConstraint(
                condition=Q(latitude__range=(-90, 90)) & Q(longitude__range=(-180, 180)),
                name="destination_is_on_earth",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name}, {self.country}"


class Profile(Stamped):
    """What the shop knows of a user. There is one for each; see ``signals.py``."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE)
    newsletter = models.BooleanField("wants the newsletter", default=False)
    city = models.ForeignKey(Destination, models.SET_NULL, null=True, blank=True)

    class Meta:
        ordering = ("user__username",)

    def __str__(self) -> str:
        return f"Profile of {self.user}"


class Category(Stamped):
    name = models.CharField(max_length=60, unique=True)
    slug = models.SlugField(max_length=60, unique=True)

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("category", args=[self.slug])


class Tag(models.Model):
    name = models.CharField(max_length=30, unique=True)
    slug = models.SlugField(max_length=30, unique=True)
    # M2MCount keeps it.
    product_count = models.PositiveIntegerField("products", default=0, editable=False)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("tag", args=[self.slug])


class Product(Stamped):
    sku = models.CharField("article number", max_length=20, unique=True)
    name = models.CharField(max_length=120)
    # Made from name and number when the product is new; see signals.py.
    slug = models.SlugField(max_length=150, unique=True, editable=False)
    category = models.ForeignKey(Category, models.PROTECT, related_name="products")
    tags = models.ManyToManyField(Tag, related_name="products", blank=True)
    price = models.DecimalField(
        max_digits=8, decimal_places=2, validators=[MinValueValidator(Decimal("0.01"))]
    )
    stock = models.PositiveIntegerField(default=0)
    description = models.TextField(blank=True)
    image = models.ImageField(upload_to="products", blank=True)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(condition=Q(price__gt=0), name="product_is_not_given_away"),
        )

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("product", args=[self.slug])


class Order(Stamped):
    class Status(models.TextChoices):
        OPEN = "open", "open"
        SENT = "sent", "sent"

    customer = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="orders")
    destination = models.ForeignKey(Destination, models.PROTECT)
    status = models.CharField(max_length=10, choices=Status, default=Status.OPEN)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"Order {self.pk}"


class OrderLine(models.Model):
    order = models.ForeignKey(Order, models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, models.PROTECT, related_name="lines")
    quantity = models.PositiveIntegerField(validators=[MinValueValidator(1)])
    # What the customer agreed to pay, whatever the product costs by now.
    price = models.DecimalField(max_digits=8, decimal_places=2)

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.UniqueConstraint(fields=("order", "product"), name="order_has_a_product_once"),
            models.CheckConstraint(condition=Q(quantity__gte=1), name="line_has_a_quantity"),
        )

    def __str__(self) -> str:
        return f"{self.quantity} x {self.product}"
