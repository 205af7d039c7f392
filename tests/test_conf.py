"""SIGNAL_KIT is read anew each time, and nothing in it is changed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test.utils import override_settings

from django_signal_kit.conf import KEYS, conf
from django_signal_kit.durations import Duration


def test_without_the_setting_everything_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(settings, "SIGNAL_KIT")
    defaults = {key: getattr(conf, key) for key in KEYS}
    assert defaults.pop("BULK_SIGNALS") is True
    assert defaults.pop("REQUEST_UNIT") is False
    assert defaults.pop("CACHE_TAG_HEADERS") == {"Cache-Tag": (",", 8000, 0)}
    assert defaults.pop("WATCH") is False
    assert defaults.pop("ADMIN_MUTING") is False
    assert defaults.pop("COUNTERS") is False
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
        "EXTRA_SIGNALS": {"paid": "tests.wiring.test_catalog.order_paid"},
        "DISCOVER_EXCLUDE": ["tests.apps.testapp"],
    }
    before = copy.deepcopy(signal_kit)
    with override_settings(SIGNAL_KIT=signal_kit):
        pass
    assert signal_kit == before


@pytest.mark.parametrize(
    ("retention", "told"),
    [
        ({"shop": "30d"}, "has the key 'shop', which names no models"),
        ({5: "30d"}, "has the key 5, which names no models"),
        ({"shop.Cart": "soon"}, r"\['shop.Cart'\] is wrong. 'soon' is no length of time"),
        ({"shop.*": 30}, r"\['shop.\*'\] is wrong. '30' is no length of time"),
    ],
)
def test_a_retention_that_cannot_be_kept_is_told(
    retention: Any, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "SIGNAL_KIT", {"RETENTION": retention})
    with pytest.raises(ImproperlyConfigured, match=rf"SIGNAL_KIT\['RETENTION'\].*{told}.*E002"):
        conf.RETENTION  # noqa: B018
    assert len(list(conf.get_problems())) == 1


def test_a_retention_is_read_as_lengths_of_time() -> None:
    with override_settings(SIGNAL_KIT={"RETENTION": {"shop.Cart": "30d", "__all__": "10y"}}):
        durations = dict(conf.RETENTION)
    assert durations == {"shop.Cart": Duration(hours=30 * 24), "__all__": Duration(months=120)}
