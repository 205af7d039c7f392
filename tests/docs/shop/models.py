from django.conf import settings
from django.db import models


class Stamped(models.Model):
    created_at = models.DateTimeField(null=True, editable=False)
    updated_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True


class Category(models.Model):
    name = models.CharField(max_length=100)
    slug = models.SlugField(default="")

    def __str__(self):
        return self.name


class Tag(models.Model):
    name = models.CharField(max_length=100)
    product_count = models.PositiveIntegerField(default=0, editable=False)

    def __str__(self):
        return self.name


class Product(Stamped):
    name = models.CharField(max_length=100)
    slug = models.SlugField(default="")
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    stock = models.IntegerField(default=0)
    supplier_code = models.CharField(max_length=100, default="", blank=True)
    category = models.ForeignKey(Category, models.SET_NULL, null=True, blank=True)
    tags = models.ManyToManyField(Tag, blank=True)
    image = models.FileField(upload_to="products", blank=True)
    manual = models.FileField(upload_to="manuals", blank=True)
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, editable=False, related_name="+"
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, editable=False, related_name="+"
    )

    def __str__(self):
        return self.name


class Cart(models.Model):
    number = models.IntegerField(default=0)


class Newsletter(models.Model):
    text = models.TextField(default="")
    banner = models.CharField(max_length=200, default="")


class Profile(models.Model):
    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE)
    email = models.EmailField(blank=True)
    theme = models.CharField(max_length=20, default="light")


class Shelf(models.Model):
    category = models.ForeignKey(Category, models.CASCADE, related_name="shelves")
    name = models.CharField(max_length=100)


class Order(Stamped):
    buyer = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True)


class Line(models.Model):
    order = models.ForeignKey(Order, models.CASCADE, related_name="lines")
    text = models.CharField(max_length=100, default="")
    modified = models.DateTimeField(null=True, editable=False)
