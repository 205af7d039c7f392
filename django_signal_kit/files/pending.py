"""Files that could not be taken away, remembered so that it is tried again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.db.models import F

from django_signal_kit.files.stored import StoredFile
from django_signal_kit.units.loggers import get_logger

logger = get_logger("django_signal_kit.files")


def get_pending_model() -> Any:
    """The model of the app ``django_signal_kit.files``, or None if that is not installed."""
    if not apps.is_installed("django_signal_kit.files"):
        return None
    return apps.get_model("signal_kit_files", "PendingFile")


def remember(file: StoredFile, receiver: str, error: Exception) -> None:
    """Keep in the database that ``file`` has to go. Never raises."""
    model = get_pending_model()
    if model is None or file.model is None or file.field is None:
        return
    try:
        label, text = file.model._meta.label, f"{type(error).__name__}: {error}"[:1000]
        pending, is_new = model.objects.get_or_create(
            model=label,
            field=file.field,
            name=file.name,
            defaults={
                "using": file.using,
                "key": "" if file.key is None else str(file.key)[:255],
                "receiver": receiver,
                "error": text,
            },
        )
        if not is_new:
            same = model.objects.filter(pk=pending.pk)
            same.update(error=text, attempts=F("attempts") + 1)
    except Exception as failure:
        logger.exception(
            "%s could not remember %r",
            receiver,
            file.name,
            extra={
                "receiver": receiver,
                "model": file.model._meta.label,
                "using": file.using,
                "error": type(failure).__name__,
            },
        )


def forget(files: Iterable[StoredFile]) -> None:
    """These are gone after all. Never raises: ``cleanfiles --retry`` finds that out, too."""
    model = get_pending_model()
    names: dict[tuple[str, str | None], list[str]] = {}
    for file in files:
        if file.model is not None:
            names.setdefault((file.model._meta.label, file.field), []).append(file.name)
    if model is None:
        return
    try:
        for (label, field), some in names.items():
            model.objects.filter(model=label, field=field, name__in=some).delete()
    except Exception as error:
        logger.exception(
            "Files that are gone could not be forgotten",
            extra={"count": sum(map(len, names.values())), "error": type(error).__name__},
        )
