"""The addresses of django-allauth's own views."""

from django.urls import include, path

urlpatterns = [path("accounts/", include("allauth.urls"))]
