"""SIGNAL_KIT is read anew each time, and nothing in it is changed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test.utils import override_settings

from django_signal_kit.conf import KEYS, conf


def test_without_the_setting_everything_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(settings, "SIGNAL_KIT")
    defaults = {key: getattr(conf, key) for key in KEYS}
    assert defaults.pop("BULK_SIGNALS") is True
    assert {key: len(value) for key, value in defaults.items()} == dict.fromkeys(defaults, 0)


def test_what_is_set_is_read_each_time() -> None:
    with override_settings(SIGNAL_KIT={"REDACT": ["iban"]}):
        assert conf.REDACT == ["iban"]
        with override_settings(SIGNAL_KIT={"REDACT": ("card",)}):
            assert conf.REDACT == ("card",)
        assert conf.REDACT == ["iban"]
    assert list(conf.REDACT) == []


@pytest.mark.parametrize("key", KEYS)
def test_each_key_has_a_type(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SIGNAL_KIT", {key: 5})
    with pytest.raises(ImproperlyConfigured, match=rf"SIGNAL_KIT\['{key}'\] is 5, of type int"):
        getattr(conf, key)


def test_the_setting_is_never_changed(wire: Any) -> None:
    signal_kit = {
        "RECEIVERS": [
            {
                "RECEIVER": "django_signal_kit.receivers.LastModified",
                "OPTIONS": {"models": ["testapp.*"]},
            }
        ],
        "EXTRA_SIGNALS": {"paid": "tests.test_catalog.order_paid"},
        "DISCOVER_EXCLUDE": ["tests.testapp"],
    }
    before = copy.deepcopy(signal_kit)
    with override_settings(SIGNAL_KIT=signal_kit):
        pass
    assert signal_kit == before
