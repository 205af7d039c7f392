"""The shop's own receivers. The kit imports this module by itself, as the admin does admin.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.cache.utils import make_template_fragment_key
from django.db.models.signals import pre_save
from django.dispatch import receiver
from django.utils.text import slugify

from django_signal_kit import ModelReceiver, register
from django_signal_kit.receivers import CacheInvalidation
from shop.models import Product, Profile, Tag


@register(models=[settings.AUTH_USER_MODEL])
class ProfileForEveryUser(ModelReceiver):
    """Makes the profile in the transaction of its user: there is never the one alone."""

    flush_on = "before_commit"

    def post_save(self, instance: Any, created: bool, **kwargs: Any) -> None:
        if created:
            self.collect(instance)

    def flush(self, items: list[Any]) -> None:
        for user in items:
            Profile.objects.create(user=user)


@register(models=["shop.Tag"])
class TaggedPages(CacheInvalidation):
    """The page of a product shows the names of its tags."""

    def get_keys(self, instance: Tag) -> Iterator[str]:
        for pk in Product.objects.filter(tags=instance.pk).values_list("pk", flat=True):
            yield make_template_fragment_key("product_page", [pk])

    def get_m2m_fields(self, model: Any) -> list[Any]:
        """None: which tags a product has, ProductPages hears."""
        return []


@receiver(pre_save, sender=Product, dispatch_uid="shop:make_slug")
def make_slug(instance: Product, **kwargs: Any) -> None:
    """A plain receiver of Django's own kind works beside those of the kit."""
    if not instance.slug:
        instance.slug = slugify(f"{instance.name[:120]} {instance.sku}")
