from __future__ import annotations

from django.apps import apps
from django.urls import include, path

urlpatterns = [
    path("cards/", include("sandbox.creditcards.methods")),
    path("api/", include(apps.get_app_config("oscarapicheckout").urls[0])),
    path("api/", include("oscarapi.urls")),
    path("", include(apps.get_app_config("oscar").urls[0])),
]
