"""Admins with the page of signals: Django's own kind, and one of a project's."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.urls import path

from django_signal_kit.sight.admin import ReceiverAdmin
from django_signal_kit.sight.models import Receiver


class Quieter(ReceiverAdmin):
    """Nobody mutes Second there."""

    def has_mute_permission(self, request: HttpRequest, name: str) -> bool:
        return name != "Second" and super().has_mute_permission(request, name)


class BackOffice(admin.AdminSite):
    site_header = "Back office"


site = admin.AdminSite(name="admin")
site.register(Receiver, ReceiverAdmin)
site.register(User)

back_office = BackOffice(name="back-office")
back_office.register(Receiver, Quieter)


urlpatterns = [path("admin/", site.urls), path("office/", back_office.urls)]
