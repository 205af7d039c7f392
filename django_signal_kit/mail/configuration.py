"""What is wrong with the options of a mail, in one sentence each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import Model

from django_signal_kit.exceptions import Misconfigured, join
from django_signal_kit.mail import claims
from django_signal_kit.mail.addresses import is_address
from django_signal_kit.mail.preview import find_failure, find_model
from django_signal_kit.mail.templates import check_templates, list_former
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.idle import overrides
from django_signal_kit.wiring.near import find_near

if TYPE_CHECKING:
    from django_signal_kit.mail.email import Email
    from django_signal_kit.mail.sending import Sending

_URL = re.compile(r"https?://[^\s/]+(/\S*)?")
#: Of a server on this machine, as Django's own default is.
_LOCAL = re.compile(r"[\w.+-]+@[\w-]+")
_OPTIONS = ("subject_template", "text_template", "html_template")


def check(receiver: Email) -> None:
    """Raise Misconfigured for the first mistake."""
    _check_signal(receiver)
    if receiver.flush_on == "before_commit":
        raise Misconfigured(
            "E060",
            f"{receiver.name} has flush_on='before_commit', when the row may still be rolled "
            f"back; a mail cannot be.",
            "Leave 'flush_on' out.",
        )
    if receiver.rate is not None and receiver.rate < 1:
        raise Misconfigured(
            "E061",
            f"The option 'rate' of {receiver.name} is {receiver.rate}, so that no mail is ever "
            f"sent.",
            "Give the number of mails a minute, or None for as many as there are.",
        )
    _check_site_url(receiver)
    _check_sender(receiver)
    check_templates(receiver.name, get_templates(receiver))


def _check_site_url(receiver: Email) -> None:
    url = str(receiver.site_url)
    if url and not _URL.fullmatch(url):
        raise Misconfigured(
            "E068",
            f"The option 'site_url' of {receiver.name} is {url!r}, to which no link leads.",
            "Begin it with https:// or http://, such as 'https://shop.example'.",
        )


def _check_sender(receiver: Email) -> None:
    """A line break would be refused with each mail, as a forged header."""
    sender = receiver.from_email
    if sender is None:
        return
    address = parseaddr(str(sender))[1]
    is_one = is_address(address) or _LOCAL.fullmatch(address)
    if not is_one or len(str(sender).splitlines()) > 1:
        raise Misconfigured(
            "E069",
            f"The option 'from_email' of {receiver.name} is {sender!r}, which is no address.",
            "Give one address, such as 'hello@shop.example' or 'Shop <hello@shop.example>', or "
            "None for DEFAULT_FROM_EMAIL.",
        )


def _check_signal(receiver: Email) -> None:
    signal = receiver.signal
    names = [name for name in catalog.get_paths() if name not in catalog.MODEL_SIGNALS]
    sentence = f"The option 'signal' of {receiver.name} is {signal!r}, which is no signal with "
    sentence += f"{receiver._what}."
    if signal in catalog.MODEL_SIGNALS and signal != "post_save":
        raise Misconfigured(
            "E012",
            sentence,
            f"It is one of models. Leave 'signal' out, and call send_later() in a method of the "
            f"name {signal!r} of a class of your own.",
        )
    if signal not in (*names, "post_save"):
        near = find_near(signal, [*names, "post_save"])
        raise Misconfigured(
            "E012",
            sentence,
            f"{f'Did you mean {near!r}? ' if near else ''}One that is neither "
            f"Django's nor the kit's is named in the settings: SIGNAL_KIT['EXTRA_SIGNALS'] = "
            f"{{{signal!r}: 'the.dotted.path.of.the.signal'}}.",
        )
    given = catalog.ARGUMENTS.get(signal)
    hook = "get_user" if hasattr(receiver, "get_user") else "get_instance"
    if signal == "post_save" or given is None or not set(given).isdisjoint(receiver._named_by):
        return
    if not _is_own(receiver, ("get_instance", "get_user", "receive")):
        has = join(map(repr, given)) if given else "no arguments"
        raise Misconfigured(
            "E012",
            sentence,
            f"It has {has}. Name another, or override {hook}().",
        )


def get_templates(receiver: Email) -> dict[str, str]:
    """Option -> name of the template, of those of which mails are made. What a class makes of
    a mail by itself is not known: then of those that it has chosen."""
    names = {
        option: getattr(receiver, option)
        for option in _OPTIONS
        if option != "html_template" or receiver.html_template
    }
    if not _is_own(receiver, ("get_message", "send_later", "flush")):
        return names
    base = _get_base(receiver)
    return {option: name for option, name in names.items() if name != getattr(base, option)}


def get_warnings(receiver: Email) -> list[CheckMessage]:
    """What start-up lets pass: a template that fails when it is rendered, and claims that do not
    last."""
    found: list[CheckMessage] = []
    names = get_templates(receiver)
    for option, old, new in list_former(names):
        found.append(
            Warning(
                f"The template {old!r}, for the option {option!r} of {receiver.name}, has its "
                f"former name.",
                hint=f"Move it to {new!r}.",
                id="signal_kit.W022",
            )
        )
    model = find_model(receiver)
    if model is not None and find_lack(receiver.condition, model) is None:
        for name, value, remedy in _find_never(receiver.condition, model):
            found.append(
                Warning(
                    f"The option 'condition' of {receiver.name} wants {value!r} of {name!r}, "
                    f"which {model._meta.label} never has.",
                    hint=remedy,
                    id="signal_kit.W026",
                )
            )
    for option, name, error in find_failure(receiver, names):
        reason = " ".join(str(error).split())
        found.append(
            Error(
                f"The option {option!r} of {receiver.name} is {name!r}, which cannot be rendered: "
                f"{type(error).__name__}: {reason.rstrip('.')}.",
                hint="Correct the template. It was given a row that is made up.",
                id="signal_kit.E062",
            )
        )
    if receiver.once and not claims.is_installed():
        found.append(
            Warning(
                f"{receiver.name} remembers whom it has mailed in the memory of each process and "
                f"in the cache 'default' alone.",
                hint=(
                    "Add 'django_signal_kit.mail' to INSTALLED_APPS and migrate, so that nobody "
                    "is mailed twice, or not at all, when a process ends."
                ),
                id="signal_kit.W021",
            )
        )
    return found


def _find_never(
    condition: Mapping[str, Any], model: type[Model]
) -> Iterator[tuple[str, Any, str]]:
    """(field, value, remedy) of what a condition wants that no row of ``model`` can have."""
    for name, wanted in condition.items():
        field: Any = model._meta.get_field(name)
        for value in wanted if isinstance(wanted, list | tuple | set | frozenset) else [wanted]:
            if value is None or isinstance(value, Model):
                continue
            try:
                python = field.to_python(value)
            except ValidationError:
                yield name, value, f"Give a value of a {type(field).__name__}."
                continue
            except Exception:  # Of a field of others, which knows its values best.
                continue
            if python != value:
                yield name, value, f"Give {python!r}."
                continue
            choices = [each for each, _ in field.flatchoices]
            if choices and value not in [*choices, *field.empty_values]:
                yield name, value, f"Its choices are {join(map(repr, choices))}."


def find_lack(condition: Mapping[str, Any], model: type[Model]) -> str | None:
    """``"no field 'x'"``, for the first of a condition that is none."""
    for name in condition:
        try:
            is_column = getattr(model._meta.get_field(name), "concrete", False)
        except FieldDoesNotExist:
            is_column = False
        if not is_column:
            return f"no field {name!r}"
    return None


def find_lack_of_address(receiver: Email, model: type[Model]) -> str | None:
    """``"no field 'x'"``, for where an address is looked for and none can be. What is no field may
    be any attribute of the class."""
    if _is_own(receiver, ("get_recipients", "get_message", "send_later", "flush")):
        return None
    if not receiver.to:
        name = getattr(model, "get_email_field_name", lambda: "email")()
        return None if _has(model, name) else f"no field {name!r}"
    for path in receiver.to:
        current: Any = model
        for name in path.split("."):
            if not _has(current, name):
                return f"no field {(name if current is model else path)!r}"
            try:
                current = current._meta.get_field(name).related_model
            except FieldDoesNotExist:
                current = None
            if not isinstance(current, type):
                break
    return None


def _has(model: Any, name: str) -> bool:
    names = {field.name for field in model._meta.get_fields()}
    return name in names or hasattr(model, name) or hasattr(model, "__getattr__")


def is_value(value: Any, wanted: Any) -> bool:
    """Is ``value`` the one that a condition wants, or one of them?"""
    if isinstance(wanted, list | tuple | set | frozenset):
        return any(value == each for each in wanted)
    return bool(value == wanted)


def matches_row(condition: Mapping[str, Any], instance: Model, row: Mapping[str, Any]) -> bool:
    """Is the condition true of the values of ``row``, by attname? An expression may be any."""
    for name, wanted in condition.items():
        field: Any = instance._meta.get_field(name)
        value = row.get(field.attname)
        if hasattr(value, "resolve_expression"):
            continue
        if isinstance(wanted, list | tuple | set | frozenset):
            wanted = [_get_column(field, each) for each in wanted]
        else:
            wanted = _get_column(field, wanted)
        if not is_value(None if value is None else field.to_python(value), wanted):
            return False
    return True


def _get_column(field: Any, wanted: Any) -> Any:
    """What the column of ``field`` has of a row that a condition names."""
    return getattr(wanted, field.target_field.attname) if isinstance(wanted, Model) else wanted


def say_failed(sending: Sending) -> str:
    """The message of what is to be tried again."""
    count, error = len(sending.failed), sending.error
    mails = "1 mail" if count == 1 else f"{count} mails"
    return f"{mails} could not be sent: {type(error).__name__}: {error}"


def _is_own(receiver: Email, names: tuple[str, ...]) -> bool:
    return overrides(receiver, _get_base(receiver), names)


def _get_base(receiver: Email) -> Any:
    """The class of the kit that ``receiver`` is, or is made of."""
    return next(
        cls for cls in type(receiver).__mro__ if cls.__module__.startswith("django_signal_kit.")
    )
