"""The ``SIGNAL_KIT`` setting, one typed property a key.

Nothing is cached, so ``override_settings`` works. What is not of the right type raises
:class:`~django_signal_kit.exceptions.Misconfigured`, which is an ``ImproperlyConfigured``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import Any, NamedTuple

from django.conf import settings

from django_signal_kit.durations import Duration, parse_duration
from django_signal_kit.exceptions import Misconfigured, did_you_mean

KEYS = (
    "RECEIVERS",
    "EXTRA_SIGNALS",
    "DISCOVER_EXCLUDE",
    "BULK_SIGNALS",
    "REDACT",
    "TRUSTED_PROXIES",
    "RETENTION",
    "REQUEST_UNIT",
    "CACHE_TAG_HEADERS",
    "WATCH",
    "COUNTERS",
    "TASKS",
    "ADMIN_MUTING",
)

_PATTERN = re.compile(r"\w+\.(\w+|\*)|__all__")
#: What a name is known by: case and separators do not matter.
_SIGN = re.compile(r"[^\W_]")
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")
_HEADERS = 'a dict such as {"Cache-Tag": ",", "Surrogate-Key": {"SEPARATOR": " "}}'


class TagHeader(NamedTuple):
    """How one response header has tags."""

    separator: str = ","
    #: Of the whole value. Some servers refuse more than 8,192 with its name.
    max_bytes: int = 8000
    #: 0: as many as fit.
    max_tags: int = 0


class TaskKey(NamedTuple):
    """A key of ``SIGNAL_KIT["TASKS"]``, and of the option ``task_options`` of a receiver."""

    default: Any
    is_right: Callable[[Any], bool]
    expected: str


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


TASK_KEYS = {
    "BACKEND": TaskKey("default", _is_text, 'an alias of the setting TASKS, such as "default"'),
    "QUEUE": TaskKey("default", _is_text, 'the name of a queue, such as "default"'),
    "PRIORITY": TaskKey(
        0,
        lambda value: type(value) is int and -100 <= value <= 100,
        "a whole number from -100 to 100",
    ),
    "ATTEMPTS": TaskKey(
        5,
        lambda value: type(value) is int and 1 <= value <= 1000,
        "a whole number from 1 to 1000",
    ),
    "BACKOFF": TaskKey(
        10.0,
        lambda value: _is_number(value) and 0 < value < math.inf,
        "a number of seconds above 0",
    ),
    "OUTBOX": TaskKey(
        None,
        lambda value: value is None or isinstance(value, bool),
        "True, False, or None for what the backend needs",
    ),
}


def check_task_keys(where: str, values: Mapping[str, Any]) -> None:
    """Raise Misconfigured for what is wrong in ``values``, which stand ``where``."""
    for key, value in values.items():
        if key not in TASK_KEYS:
            raise Misconfigured(
                "E054",
                f"{where} has the key {key!r}, which tasks do not know.",
                did_you_mean(key, TASK_KEYS),
            )
        if not TASK_KEYS[key].is_right(value):
            raise Misconfigured(
                "E055",
                f"{where} has {key!r}: {value!r}, of type {type(value).__name__}.",
                f"It has to be {TASK_KEYS[key].expected}.",
            )


def check_parts(where: str, parts: Iterable[str]) -> None:
    """Raise Misconfigured for the first of ``parts``, which stand ``where``, that is in each
    name."""
    for part in parts:
        if not _SIGN.search(part):
            raise Misconfigured(
                "E075",
                f"{where} has {part!r}, which is a part of each name: all values would be "
                f"secrets.",
                'Take it out, or write a part of the names that are meant, such as "iban".',
            )


class Settings:
    """Reads ``settings.SIGNAL_KIT`` anew at each access."""

    @property
    def all(self) -> Mapping[str, Any]:
        value = getattr(settings, "SIGNAL_KIT", {})
        if not isinstance(value, Mapping):
            raise Misconfigured(
                "E002",
                f"SIGNAL_KIT is {value!r}, which is not a dict.",
                'Write SIGNAL_KIT = {"RECEIVERS": [...]}.',
            )
        return value

    def get_problems(self) -> Iterator[Misconfigured]:
        """What is wrong with the keys, and with the types of their values."""
        try:
            keys = list(self.all)
        except Misconfigured as problem:
            yield problem
            return
        for key in keys:
            if key not in KEYS:
                yield Misconfigured(
                    "E001", f"Unknown key {key!r} in SIGNAL_KIT.", did_you_mean(key, KEYS)
                )
                continue
            try:
                getattr(self, key)
            except Misconfigured as problem:
                yield problem

    @property
    def RECEIVERS(self) -> Sequence[object]:  # noqa: N802
        """Dotted paths, or dicts with RECEIVER, OPTIONS and NAME; called in this order."""
        return self._sequence("RECEIVERS")

    @property
    def EXTRA_SIGNALS(self) -> Mapping[str, str]:  # noqa: N802
        """Signal name -> dotted path, for signals that are neither Django's nor the kit's."""
        expected = 'a dict such as {"user_signed_up": "a.b.c"}'
        value: Mapping[str, str] = self._get("EXTRA_SIGNALS", {}, Mapping, expected)
        return value

    @property
    def DISCOVER_EXCLUDE(self) -> Sequence[str]:  # noqa: N802
        """Names of the apps whose ``signals`` module is not imported by the kit."""
        return self._strings("DISCOVER_EXCLUDE")

    @property
    def BULK_SIGNALS(self) -> bool:  # noqa: N802
        """Whether bulk_create, bulk_update and QuerySet.update() are heard."""
        value: bool = self._get("BULK_SIGNALS", True, bool, "True or False")
        return value

    @property
    def REDACT(self) -> Sequence[str]:  # noqa: N802
        """Parts of field names whose values are secret, beside those known by themselves."""
        value = self._strings("REDACT")
        check_parts("SIGNAL_KIT['REDACT']", value)
        return value

    @property
    def TRUSTED_PROXIES(self) -> Sequence[str]:  # noqa: N802
        """Addresses or networks of the proxies whose ``X-Forwarded-For`` is believed."""
        value = self._strings("TRUSTED_PROXIES")
        for item in value:
            try:
                ip_network(item, strict=False)
            except ValueError:
                raise Misconfigured(
                    "E002",
                    f"SIGNAL_KIT['TRUSTED_PROXIES'] has {item!r}, which is no address and no "
                    f"network.",
                    'Write an address such as "10.0.0.1", or a network such as "10.0.0.0/8".',
                ) from None
        return value

    @property
    def RETENTION(self) -> Mapping[str, Duration]:  # noqa: N802
        """``"app.Model"``, ``"app.*"`` or ``"__all__"`` -> how old entries about it may grow."""
        expected = 'a dict such as {"shop.Cart": "30d", "shop.*": "2y", "__all__": "10y"}'
        durations = {}
        for pattern, text in self._get("RETENTION", {}, Mapping, expected).items():
            if not isinstance(pattern, str) or not _PATTERN.fullmatch(pattern):
                raise Misconfigured(
                    "E002",
                    f"SIGNAL_KIT['RETENTION'] has the key {pattern!r}, which names no models.",
                    f"It has to be {expected}.",
                )
            try:
                durations[pattern] = parse_duration(text if isinstance(text, str) else repr(text))
            except ValueError as error:
                raise Misconfigured(
                    "E002", f"SIGNAL_KIT['RETENTION'][{pattern!r}] is wrong.", str(error)
                ) from error
        return durations

    @property
    def REQUEST_UNIT(self) -> bool:  # noqa: N802
        """Whether each request that may change something is one unit of work."""
        value: bool = self._get("REQUEST_UNIT", False, bool, "True or False")
        return value

    @property
    def CACHE_TAG_HEADERS(self) -> Mapping[str, TagHeader]:  # noqa: N802
        """Name of each response header that gets tags -> the separator between them, or a dict
        with SEPARATOR, MAX_BYTES and MAX_TAGS."""
        value = self._get("CACHE_TAG_HEADERS", {"Cache-Tag": ","}, Mapping, _HEADERS)
        return {name: _read_header(name, how) for name, how in value.items()}

    @property
    def WATCH(self) -> bool:  # noqa: N802
        """Whether writes of covered models that no receiver hears are logged; as DEBUG is."""
        value: bool = self._get("WATCH", settings.DEBUG, bool, "True or False")
        return value

    @property
    def COUNTERS(self) -> bool:  # noqa: N802
        """Whether calls of receivers are counted and timed."""
        value: bool = self._get("COUNTERS", False, bool, "True or False")
        return value

    @property
    def ADMIN_MUTING(self) -> bool:  # noqa: N802
        """Whether receivers can be muted, in all processes, from the page of the admin."""
        value: bool = self._get("ADMIN_MUTING", False, bool, "True or False")
        return value

    @property
    def TASKS(self) -> Mapping[str, Any]:  # noqa: N802
        """How the tasks go of receivers with ``flush_on="task"``: see ``TASK_KEYS``."""
        expected = 'a dict such as {"QUEUE": "default", "ATTEMPTS": 5}'
        values: Mapping[str, Any] = self._get("TASKS", {}, Mapping, expected)
        check_task_keys("SIGNAL_KIT['TASKS']", values)
        return values

    def _get(self, key: str, default: object, kind: Any, expected: str) -> Any:
        value = self.all.get(key, default)
        if not isinstance(value, kind):
            raise self._wrong(key, value, expected)
        return value

    def _sequence(self, key: str) -> Sequence[object]:
        value = self.all.get(key, ())
        if isinstance(value, str):
            raise self._wrong(key, value, f'a list. Write ["{value}"]')
        if key == "RECEIVERS" and isinstance(value, Mapping):
            entries = '[{"RECEIVER": path, "OPTIONS": {...}}, ...]'
            raise self._wrong(key, value, f"a list of receivers. Write {entries}")
        if not isinstance(value, list | tuple):
            raise self._wrong(key, value, "a list")
        return value

    def _strings(self, key: str) -> Sequence[str]:
        value = self._sequence(key)
        for item in value:
            if not isinstance(item, str):
                raise Misconfigured(
                    "E002",
                    f"SIGNAL_KIT[{key!r}] has {item!r}, of type {type(item).__name__}.",
                    "Each item has to be a string.",
                )
        return value  # type: ignore[return-value]

    @staticmethod
    def _wrong(key: str, value: object, expected: str) -> Misconfigured:
        return Misconfigured(
            "E002",
            f"SIGNAL_KIT[{key!r}] is {value!r}, of type {type(value).__name__}.",
            f"It has to be {expected}.",
        )


def _read_header(name: object, how: object) -> TagHeader:
    where = f"SIGNAL_KIT['CACHE_TAG_HEADERS'] has {name!r}: {how!r}"
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise Misconfigured("E067", f"{where}. That is no name of a header.", f"Write {_HEADERS}.")
    said: Mapping[Any, Any] = how if isinstance(how, Mapping) else {"SEPARATOR": how}
    fields = {field.upper(): field for field in TagHeader._fields}
    for key in said:
        if key not in fields:
            raise Misconfigured("E067", f"{where}, with {key!r}.", did_you_mean(key, fields))
    header = TagHeader(**{fields[key]: value for key, value in said.items()})
    if header.separator not in (",", " ", ", ", ";", "|"):
        raise Misconfigured(
            "E067",
            f"{where}, where {header.separator!r} would separate tags.",
            "Choose from ',', ' ', ', ', ';' and '|', which no tag has.",
        )
    if not all(type(most) is int and most >= 0 for most in header[1:]) or not header.max_bytes:
        raise Misconfigured(
            "E067",
            f"{where}, with a limit that is no number of bytes or tags.",
            "Write whole numbers; MAX_TAGS 0 is as many as fit.",
        )
    return header


conf = Settings()
