"""An admin whose models have their history told by the audit log."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.admin import GenericTabularInline
from django.contrib.sessions.models import Session
from django.urls import path

from django_signal_kit.audit.admin import AuditEntryAdmin
from django_signal_kit.audit.history import AuditHistoryMixin
from django_signal_kit.audit.models import AuditEntry
from tests.apps.testapp.models import Category, Line, Product, ProductProxy, Restaurant, Tag, Token

site = admin.AdminSite(name="admin")


class HistoryAdmin(AuditHistoryMixin, admin.ModelAdmin):
    pass


class LineInline(admin.TabularInline):
    model = Line
    extra = 0


class TagInline(admin.TabularInline):
    model = Product.tags.through
    extra = 0


class RemarkInline(GenericTabularInline):
    """Any model that names rows of any model will do."""

    model = LogEntry
    ct_field = "content_type"
    ct_fk_field = "object_id"
    extra = 0

    def check(self, **kwargs):
        # It has no GenericForeignKey, which the checks ask for and nothing else does.
        return []


class ProductAdmin(HistoryAdmin):
    fields = ("name", "price")
    inlines = (LineInline, TagInline, RemarkInline)

    def get_queryset(self, request):
        return super().get_queryset(request).exclude(name="hidden")


site.register(Product, ProductAdmin)
site.register([Category, ProductProxy, Restaurant, Session, Tag, Token, User], HistoryAdmin)
site.register(AuditEntry, AuditEntryAdmin)

urlpatterns = [path("admin/", site.urls)]
