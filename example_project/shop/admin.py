from __future__ import annotations

from decimal import Decimal

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from django_signal_kit.audit.history import AuditHistoryMixin
from django_signal_kit.forms import LimitedModelForm
from shop.models import Category, Destination, Order, OrderLine, Product, Profile, Tag

STAMPS = ("created_at", "updated_at", "updated_by")


@admin.register(Product)
class ProductAdmin(AuditHistoryMixin, admin.ModelAdmin):
    list_display = ("picture", "name", "category", "price", "stock", "updated_at")
    list_display_links = ("name",)
    list_editable = ("stock",)
    list_filter = ("category", "tags")
    list_per_page = 50
    list_select_related = ("category",)
    search_fields = ("name", "sku", "description")
    autocomplete_fields = ("category",)
    filter_horizontal = ("tags",)
    # Too many tags are an error of their field.
    form = LimitedModelForm
    readonly_fields = ("picture", "slug", *STAMPS)
    fieldsets = (
        (None, {"fields": ("sku", "name", "category", "tags", "description")}),
        ("Sale", {"fields": ("price", "stock")}),
        ("Picture", {"fields": ("image", "picture")}),
        ("Written by themselves", {"fields": ("slug", *STAMPS)}),
    )

    @admin.display(description="picture")
    def picture(self, product: Product) -> str:
        if not product.image:
            return "—"
        return format_html('<img src="{}" alt="" width="80" height="60">', product.image.url)


@admin.register(Category)
class CategoryAdmin(AuditHistoryMixin, admin.ModelAdmin):
    list_display = ("name", "slug", "updated_at", "updated_by")
    list_select_related = ("updated_by",)
    search_fields = ("name",)
    prepopulated_fields = {"slug": ("name",)}
    readonly_fields = STAMPS


@admin.register(Tag)
class TagAdmin(AuditHistoryMixin, admin.ModelAdmin):
    list_display = ("name", "slug", "product_count")
    search_fields = ("name",)
    prepopulated_fields = {"slug": ("name",)}


class OrderLineInline(admin.TabularInline):
    model = OrderLine
    autocomplete_fields = ("product",)
    extra = 0


@admin.register(Order)
class OrderAdmin(AuditHistoryMixin, admin.ModelAdmin):
    list_display = ("__str__", "customer", "destination", "status", "total", "updated_at")
    list_filter = ("status",)
    list_select_related = ("customer", "destination")
    search_fields = ("customer__username", "destination__name")
    autocomplete_fields = ("customer", "destination")
    readonly_fields = ("total", *STAMPS)
    inlines = (OrderLineInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        return super().get_queryset(request).prefetch_related("lines")

    @admin.display(description="total")
    def total(self, order: Order) -> Decimal:
        return sum((line.quantity * line.price for line in order.lines.all()), Decimal(0))


@admin.register(Profile)
class ProfileAdmin(AuditHistoryMixin, admin.ModelAdmin):
    list_display = ("user", "newsletter", "city", "updated_at")
    list_filter = ("newsletter",)
    list_select_related = ("user", "city")
    search_fields = ("user__username",)
    autocomplete_fields = ("user", "city")
    readonly_fields = STAMPS


@admin.register(Destination)
class DestinationAdmin(admin.ModelAdmin):
    list_display = ("name", "country", "population", "latitude", "longitude")
    list_filter = ("country",)
    search_fields = ("name", "country")
    # To count all the cities again for each search is not worth it.
    show_full_result_count = False
