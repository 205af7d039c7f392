"""A slip of the pen in any name is answered with that name; what has a wrong form, with the right
one. The slips are generated, so that no name is left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings

from django_signal_kit import ModelReceiver, Receiver, receivers, register
from django_signal_kit.checks import check_signal_kit
from django_signal_kit.conf import KEYS
from django_signal_kit.options import get_options
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.configured import ENTRY_KEYS
from tests.apps.testapp.models import Product
from tests.typos import get_typos

KIT = "django_signal_kit.receivers"
HERE = __name__
MODEL = 'Write "app_label.Model".'

#: (what SIGNAL_KIT is, the whole sentence)
Mistake = tuple[Any, str]


class Prices(ModelReceiver):
    def post_save(self, **kwargs: Any) -> None: ...


class Stocks(Prices):
    def get_models(self) -> Any:
        return "testapp.*"


class SignUps(Receiver):
    def user_signed_up(self, **kwargs: Any) -> None: ...


def entry(cls: str, **options: Any) -> dict[str, Any]:
    path = f"{HERE}.{cls}" if cls in globals() else f"{KIT}.{cls}"
    return {"RECEIVERS": [{"RECEIVER": path, "OPTIONS": options}]}


def get_slips_in_settings() -> Iterator[Mistake]:
    for key in KEYS:
        for typo in get_typos(key):
            yield (
                {typo: []},
                f"Unknown key {typo!r} in SIGNAL_KIT. Did you mean {key!r}? (signal_kit.E001)",
            )
    for key in ENTRY_KEYS:
        for typo in get_typos(key):
            yield (
                {"RECEIVERS": [{typo: "x"}]},
                f"SIGNAL_KIT['RECEIVERS'][0] has an unknown key {typo!r}. Did you mean {key!r}? "
                f"(signal_kit.E003)",
            )


def get_entries_in_a_wrong_form() -> Iterator[Mistake]:
    for cls, path in (
        (Prices, f'"{HERE}.Prices"'),
        (receivers.AuditLog, f'"{KIT}.AuditLog"'),
        (5, "a dotted path"),
    ):
        yield (
            {"RECEIVERS": [cls]},
            f"SIGNAL_KIT['RECEIVERS'][0] is {cls!r}, of type {type(cls).__name__}. Write {path}, "
            f'or {{"RECEIVER": path, "OPTIONS": {{...}}}}. (signal_kit.E003)',
        )
        yield (
            {"RECEIVERS": [{"RECEIVER": cls}]},
            f"SIGNAL_KIT['RECEIVERS'][0] has no dotted path under 'RECEIVER': {cls!r}. Write "
            f'{{"RECEIVER": {path}, "OPTIONS": {{...}}}}. (signal_kit.E003)',
        )
    yield (
        {"RECEIVERS": [{"RECEIVER": f"{KIT}.AuditLog", "models": ["testapp.*"]}]},
        "SIGNAL_KIT['RECEIVERS'][0] has an unknown key 'models'. Options stand in a dict of their "
        "own: \"OPTIONS\": {'models': ...}. (signal_kit.E003)",
    )


def get_slips_in_receivers() -> Iterator[Mistake]:
    for name in receivers.__all__:
        for typo in get_typos(name):
            for path in (f"{KIT}.{typo}", typo):
                yield (
                    {"RECEIVERS": [path]},
                    f"SIGNAL_KIT['RECEIVERS'][0] is {path!r}, which cannot be imported: "
                    f"… Did you mean '{KIT}.{name}'? (signal_kit.E004)",
                )
    for typo in get_typos("Prices"):
        yield (
            {"RECEIVERS": [f"{HERE}.{typo}"]},
            f"SIGNAL_KIT['RECEIVERS'][0] is '{HERE}.{typo}', which cannot be imported: … "
            f"Did you mean '{HERE}.Prices'? (signal_kit.E004)",
        )


def get_slips_in_options() -> Iterator[Mistake]:
    for name in receivers.__all__:
        for option in get_options(getattr(receivers, name)):
            # Words of two or three letters resemble too many.
            for typo in get_typos(option) if len(option) > 3 else ():
                yield (
                    entry(name, **{typo: None}),
                    f"{name} has no option {typo!r}. Did you mean {option!r}? (signal_kit.E006)",
                )


def get_slips_in_models() -> Iterator[Mistake]:
    for option in ("models", "exclude"):
        for label in ("testapp.Product", "testapp.Restaurant", "auth.User"):
            for typo in get_typos(label):
                yield (
                    entry("Prices", **{option: [typo]}),
                    f"The option {option!r} of {HERE}.Prices has {typo!r}, but there is no such "
                    f"model. Did you mean {label!r}? (signal_kit.E008)",
                )
        for label in ("testapp", "contenttypes"):
            for typo in get_typos(label):
                yield (
                    entry("Prices", **{option: [f"{typo}.*"]}),
                    f"The option {option!r} of {HERE}.Prices has '{typo}.*', but there is no app "
                    f"{typo!r}. Did you mean {label!r}? (signal_kit.E008)",
                )


def get_models_in_a_wrong_form() -> Iterator[Mistake]:
    for name, told in (("Prices", f"{HERE}.Prices"), ("AuditLog", "AuditLog")):
        where = f"The option 'models' of {told}"
        for wrong in ("testapp.*", "testapp.Product", "__all__"):
            yield (
                entry(name, models=wrong),
                f"{where} is {wrong!r}, of type str. It has to be a list, each item a string or a "
                f'class. Write ["{wrong}"]. (signal_kit.E007)',
            )
        yield (
            entry(name, models=Product),
            f"{where} is {Product!r}, of type ModelBase. It has to be a list, each item a string "
            f"or a class. Write [Product]. (signal_kit.E007)",
        )
        yield (
            entry(name, models=["testapp.Product", 5]),
            f"{where} has the item 5, of type int. Each item has to be a string or a class. "
            f"(signal_kit.E007)",
        )
        yield (
            entry(name, models=["*"]),
            f"{where} has '*', which names no app. For all models write \"__all__\", for those of "
            f'an app "app_label.*". (signal_kit.E008)',
        )
        for wrong in ("all", "__ALL__", "_all_", "ALL", "__all", "", "**"):
            yield (
                entry(name, models=[wrong]),
                f"{where} has {wrong!r}, but there is no such model. For all models write "
                f'"__all__". (signal_kit.E008)',
            )
        for wrong in ("testapp", "TestApp", "tests.apps.testapp", "testapp.models"):
            yield (
                entry(name, models=[wrong]),
                f"{where} has {wrong!r}, but there is no such model. For all models of the app "
                f'write "testapp.*". (signal_kit.E008)',
            )
        for wrong in ("tests.apps.testapp.*", "tests.apps.testapp.models.*"):
            yield (
                entry(name, models=[wrong]),
                f"{where} has {wrong!r}, but there is no app {wrong[:-2]!r}. An app is named by "
                f'its label: write "testapp.*". (signal_kit.E008)',
            )
        for wrong in ("Product", "product", "testapp.Product.name", "testapp.models.Product"):
            yield (
                entry(name, models=[wrong]),
                f'{where} has {wrong!r}, but there is no such model. Write "testapp.Product". '
                f"(signal_kit.E008)",
            )
        yield (
            entry(name, models=["testapp.Product.*"]),
            f"{where} has 'testapp.Product.*', but there is no app 'testapp.Product'. Write "
            f'"testapp.Product". (signal_kit.E008)',
        )
        yield (
            entry(name, models=["nothing.like.it"]),
            f"{where} has 'nothing.like.it', but there is no such model. Write "
            f'"app_label.Model", "app_label.*" or a dotted path. (signal_kit.E008)',
        )
    yield (
        entry("Stocks"),
        f"get_models() of {HERE}.Stocks returns 'testapp.*', which is no list. Return "
        f'["testapp.*"]. (signal_kit.E008)',
    )


def get_options_of_a_wrong_type() -> Iterator[Mistake]:
    """Each option of each ready-made, given what it never is."""
    for name in receivers.__all__:
        for option in get_options(getattr(receivers, name)):
            where = f"The option {option!r} of {name} is <class 'object'>, "
            may_be_class = f"which is no model. {MODEL} (signal_kit.E035)"
            wrong = "of type type. It has to be … (signal_kit.E007)"
            yield (
                entry(name, **{option: object}),
                where
                + (may_be_class if (name, option) == ("CreateRelated", "related") else wrong),
            )


def get_settings_of_a_wrong_type() -> Iterator[Mistake]:
    for key in ("RECEIVERS", "DISCOVER_EXCLUDE", "REDACT", "TRUSTED_PROXIES"):
        yield (
            {key: "x.y"},
            f"SIGNAL_KIT[{key!r}] is 'x.y', of type str. It has to be a list. Write [\"x.y\"]. "
            f"(signal_kit.E002)",
        )
    for key in ("DISCOVER_EXCLUDE", "REDACT", "TRUSTED_PROXIES"):
        yield (
            {key: ["x", 5]},
            f"SIGNAL_KIT[{key!r}] has 5, of type int. Each item has to be a string. "
            f"(signal_kit.E002)",
        )
    for item in ("10.0.0.0/33", "localhost", "*", "10.0.0", "::1/200", ""):
        yield (
            {"TRUSTED_PROXIES": ["10.0.0.1", item]},
            f"SIGNAL_KIT['TRUSTED_PROXIES'] has {item!r}, which is no address and no network. "
            f'Write an address such as "10.0.0.1", or a network such as "10.0.0.0/8". '
            f"(signal_kit.E002)",
        )


def get_values_of_which_the_type_does_not_say_enough() -> Iterator[Mistake]:
    for wrong in (
        {"RECEIVER": f"{KIT}.AuditLog"},
        {f"{KIT}.AuditLog": {"models": ["testapp.*"]}},
        {},
    ):
        yield (
            {"RECEIVERS": wrong},
            f"SIGNAL_KIT['RECEIVERS'] is {wrong!r}, of type dict. It has to be a list of "
            f'receivers. Write [{{"RECEIVER": path, "OPTIONS": {{...}}}}, ...]. (signal_kit.E002)',
        )
    for wrong in (True, 5):
        yield (
            entry("AuditLog", models=wrong),
            f"The option 'models' of AuditLog is {wrong!r}, of type {type(wrong).__name__}. It "
            f'has to be a list, each item a string or a class. Write ["app_label.*"], or '
            f'["__all__"] for each model. (signal_kit.E007)',
        )
    yield (
        entry("FileCleanup", quarantine=30),
        "The option 'quarantine' of FileCleanup is 30, of type int. It has to be a string or "
        'None. Write "30d" for 30 days. (signal_kit.E007)',
    )


def get_models_that_lack_a_field() -> Iterator[Mistake]:
    for typo in get_typos("updated_at"):
        yield (
            entry("LastModified", models=["testapp.Product"], field=typo),
            f"LastModified cannot cover testapp.Product: it has no field {typo!r}. Did you mean "
            f"'updated_at'? (signal_kit.E012)",
        )
    remedy = "Leave the model out, or give the option the name of a field that it has."
    yield (
        entry("LastModified", models=["testapp.Tag"], field="updated_at"),
        f"LastModified cannot cover testapp.Tag: it has no field 'updated_at'. {remedy} "
        f"(signal_kit.E012)",
    )
    yield (
        entry("FileCleanup", models=["testapp.Tag"]),
        f"FileCleanup cannot cover testapp.Tag: it has no file field to clean up. {remedy} "
        f"(signal_kit.E012)",
    )


def get_keys_that_are_no_names() -> Iterator[Mistake]:
    yield (
        entry("InitialAttributes", models=["testapp.Product"], attributes={5: 6}),
        "The attribute 5 of InitialAttributes is no name of an attribute. Choose another. "
        "(signal_kit.E018)",
    )
    for option in ("fields", "managers", "attributes"):
        yield (
            entry("ModelExtension", models=["testapp.Product"], **{option: {5: 6}}),
            "ModelExtension … (signal_kit.E041)",
        )


def get_unknown_signals() -> Iterator[Mistake]:
    remedy = (
        "One that is neither Django's nor the kit's is named in the settings: "
        "SIGNAL_KIT['EXTRA_SIGNALS'] = {{{0!r}: 'the.dotted.path.of.the.signal'}}. "
        "(signal_kit.E012)"
    )
    where = "The option 'signal' of WelcomeEmail is {0!r}, which is no signal with a user."
    for signal in ("user_logged_in", "user_login_failed", "post_save"):
        for typo in get_typos(signal):
            sentence = f"{where} Did you mean {{1!r}}? {remedy}".format(typo, signal)
            yield entry("WelcomeEmail", signal=typo), sentence
    yield entry("WelcomeEmail", signal="paid"), f"{where} {remedy}".format("paid")
    yield (
        entry("SignUps"),
        f"{HERE}.SignUps has no method named after a signal, so it hears nothing. Name a method "
        f"after the signal that it is to receive, such as 'post_save'. A signal that is neither "
        f"Django's nor the kit's gets its name in SIGNAL_KIT['EXTRA_SIGNALS']. (signal_kit.E015)",
    )


KINDS = [
    get_slips_in_settings,
    get_entries_in_a_wrong_form,
    get_slips_in_receivers,
    get_slips_in_options,
    get_slips_in_models,
    get_models_in_a_wrong_form,
    get_options_of_a_wrong_type,
    get_settings_of_a_wrong_type,
    get_values_of_which_the_type_does_not_say_enough,
    get_models_that_lack_a_field,
    get_keys_that_are_no_names,
    get_unknown_signals,
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_mistake_is_told_in_one_sentence(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for signal_kit, sentence in kind():
        monkeypatch.setattr(settings, "SIGNAL_KIT", signal_kit)
        (message,) = check_signal_kit()
        said = f"{message.msg} {message.hint} ({message.id})"
        # What Python says, or a list of types, is looked at elsewhere.
        head, dots, tail = sentence.partition("…")
        assert (said.startswith(head) and said.endswith(tail)) if dots else said == sentence


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ("testapp.Product", '@register(models=["testapp.Product"]).'),
        (Product, "@register(models=[Product])."),
        (["testapp.Product"], "@register(models=[...])."),
        (print, "A plain function is connected with Django's own @receiver."),
    ],
)
def test_what_is_registered_and_is_no_receiver_is_told(wrong: Any, remedy: str) -> None:
    with pytest.raises(TypeError) as caught:
        register(wrong)
    assert str(caught.value).startswith(f"@register is for Receiver classes, and {wrong!r} is ")
    assert str(caught.value).endswith(remedy)


def test_there_are_many() -> None:
    mistakes = [sentence for kind in KINDS for _, sentence in kind()]
    assert len(mistakes) > 500
    assert len({sentence.rpartition("(")[2] for sentence in mistakes}) >= 8


def test_a_receiver_is_told_by_its_path_and_by_the_name_it_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for path, told in ((f"{HERE}.Prices", f"{HERE}.Prices"), (f"{KIT}.AuditLog", "AuditLog")):
        for name, words in ((None, told), ("Shop", f"{told} 'Shop'")):
            given = {"RECEIVER": path, "OPTIONS": {"models": ["nobody.*"]}, "NAME": name}
            monkeypatch.setattr(settings, "SIGNAL_KIT", {"RECEIVERS": [given]})
            (message,) = check_signal_kit()
            assert message.msg.startswith(f"The option 'models' of {words} has 'nobody.*', but ")


def test_the_names_of_signals_are_those_that_there_are() -> None:
    assert apps.ready
    assert set(catalog.ARGUMENTS) == {*catalog.DJANGO_SIGNALS, *catalog.KIT_SIGNALS}
