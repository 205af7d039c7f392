"""One model for each thing that Django can do to a row."""

import uuid

from django.conf import settings
from django.core.files.storage import FileSystemStorage
from django.db import models
from django.db.models.functions import Length


class Stamped(models.Model):
    created_at = models.DateTimeField(null=True, editable=False)
    updated_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True


class Colourful:
    """A mixin that is no model."""


class Category(models.Model):
    name = models.CharField(max_length=100)

    def __str__(self):
        return self.name


class Tag(models.Model):
    name = models.CharField(max_length=100)

    def __str__(self):
        return self.name


class Product(Stamped, Colourful):
    name = models.CharField(max_length=100)
    slug = models.SlugField(max_length=100, default="")
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    stock = models.IntegerField(default=0)
    data = models.JSONField(default=dict)
    api_token = models.CharField(max_length=100, default="")
    category = models.ForeignKey(Category, models.SET_NULL, null=True, blank=True)
    tags = models.ManyToManyField(Tag, related_name="products", blank=True)
    image = models.FileField(upload_to="products", blank=True)
    manual = models.FileField(upload_to="manuals", blank=True)
    editor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )

    def __str__(self):
        return self.name


class ProductProxy(Product):
    class Meta:
        proxy = True


class Line(models.Model):
    """A child that goes with its product."""

    product = models.ForeignKey(Product, models.CASCADE, related_name="lines")
    text = models.CharField(max_length=100, default="")


class Place(Stamped):
    name = models.CharField(max_length=100)

    def __str__(self):
        return self.name


class Restaurant(Place):
    """A multi-table child."""

    stars = models.IntegerField(default=0)


class Person(models.Model):
    name = models.CharField(max_length=100)
    friends = models.ManyToManyField("self", blank=True)
    follows = models.ManyToManyField(
        "self", symmetrical=False, related_name="followers", blank=True
    )


class Club(models.Model):
    name = models.CharField(max_length=100)
    members = models.ManyToManyField(Person, through="Membership", related_name="clubs")


class Membership(models.Model):
    """A through model with a field of its own."""

    club = models.ForeignKey(Club, models.CASCADE)
    person = models.ForeignKey(Person, models.CASCADE)
    role = models.CharField(max_length=100, default="member")


class Token(models.Model):
    """A key that is there before the row is."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=100, default="")


class Gallery(models.Model):
    """Names files of products, too."""

    cover = models.FileField(upload_to="products", blank=True)
    picture = models.CharField(max_length=200, default="")


class Page(models.Model):
    """Stamps itself."""

    title = models.CharField(max_length=100)
    changed_at = models.DateTimeField(auto_now=True)


class Plain(models.Model):
    """No test covers it."""

    name = models.CharField(max_length=100)
    number = models.IntegerField(default=0)


class OpenTickets(models.Manager):
    def get_queryset(self):
        return super().get_queryset().filter(is_closed=False)


class Ticket(models.Model):
    """A row that its manager hides once it is closed."""

    name = models.CharField(max_length=100)
    is_closed = models.BooleanField(default=False)

    objects = OpenTickets()


def get_vault():
    """A storage beside the default one."""
    return FileSystemStorage(location=f"{settings.MEDIA_ROOT}-vault")


class Document(models.Model):
    """Has a file from the start."""

    file = models.FileField(upload_to="documents", default="documents/empty.txt")


class Contract(Document):
    """A multi-table child with a file of its own, kept elsewhere."""

    scan = models.FileField(storage=get_vault, upload_to="documents", null=True)


class Note(models.Model):
    """Stamped by the day, with two people, and with a column that the database computes."""

    text = models.CharField(max_length=100)
    length = models.GeneratedField(
        expression=Length("text"), output_field=models.IntegerField(), db_persist=True
    )
    written_on = models.DateField(null=True)
    changed_on = models.DateField(null=True)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    editor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
