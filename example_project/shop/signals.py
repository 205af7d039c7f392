"""The shop's own receivers. The kit imports this module by itself, as the admin does admin.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.cache.utils import make_template_fragment_key
from django.db.models.signals import pre_save
from django.dispatch import receiver
from django.utils.text import slugify

from django_signal_kit import register
from django_signal_kit.receivers import CacheInvalidation, CreateRelated
from shop.models import Product, Profile, Tag


@register(related=Profile)
class ProfileForEveryUser(CreateRelated):
    """Makes the profile in the transaction of its user: there is never the one alone."""


@register(models=["shop.Tag"])
class TaggedPages(CacheInvalidation):
    """The page of a product shows the names of its tags."""

    def get_keys(self, instance: Tag) -> Iterator[str]:
        for pk in Product.objects.filter(tags=instance.pk).values_list("pk", flat=True):
            yield make_template_fragment_key("product_page", [pk])

    def get_tags(self, instance: Tag) -> Iterator[str]:
        for slug in Product.objects.filter(tags=instance.pk).values_list("slug", flat=True):
            yield f"product:{slug}"

    def get_m2m_fields(self, model: Any) -> list[Any]:
        """None: which tags a product has, ProductPages hears."""
        return []


@receiver(pre_save, sender=Product, dispatch_uid="shop:make_slug")
def make_slug(instance: Product, **kwargs: Any) -> None:
    """A plain receiver of Django's own kind works beside those of the kit."""
    if not instance.slug:
        instance.slug = slugify(f"{instance.name[:120]} {instance.sku}")
