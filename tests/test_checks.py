"""Each mistake has one id and one sentence, in the system check and at start-up."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.core.checks import Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.dispatch import Signal
from django.test.utils import override_settings

from django_signal_kit import ModelReceiver, Receiver
from django_signal_kit.checks import check_signal_kit
from django_signal_kit.receivers import AuditLog
from django_signal_kit.wiring.registry import registry

KIT = "django_signal_kit.receivers"
HERE = __name__

signal = Signal()


class Saves(ModelReceiver):
    words: list[str] = []
    labels: dict[str, str] = {}

    def post_save(self, **kwargs: Any) -> None: ...


class NearlySaves(ModelReceiver):
    def post_safe(self, **kwargs: Any) -> None: ...


class HalfNearlySaves(Saves):
    def postsave(self, **kwargs: Any) -> None: ...


class HearsNothing(Receiver):
    pass


class HearsNothingOfModels(ModelReceiver):
    models = ["testapp.Tag"]


class LogWithoutDeletions(AuditLog):
    models = ["testapp.Tag"]
    post_delete = None  # type: ignore[assignment]


class TagForm:
    pass


class SavesOfNobody(Receiver):
    def post_save(self, **kwargs: Any) -> None: ...


class LinksOfNobody(Receiver):
    def m2m_changed(self, **kwargs: Any) -> None: ...


class OptionLikeASignal(Receiver):
    pre_save = "always"

    def request_started(self, **kwargs: Any) -> None: ...


class Cautious(Receiver):
    def request_started(self, **kwargs: Any) -> None: ...


class OneMore(Cautious):
    pass


def function(**kwargs: Any) -> None: ...


def entry(path: str, **keys: Any) -> dict[str, Any]:
    return {"RECEIVERS": [{"RECEIVER": path, **keys}]}


def options(path: str, **values: Any) -> dict[str, Any]:
    return entry(path, OPTIONS=values)


SAVES = f"{HERE}.Saves"

MISTAKES: list[tuple[Any, str, str]] = [
    (
        {"RECIEVERS": []},
        "E001",
        "Unknown key 'RECIEVERS' in SIGNAL_KIT. Did you mean 'RECEIVERS'?",
    ),
    (
        {"receivers": []},
        "E001",
        "Unknown key 'receivers' in SIGNAL_KIT. Did you mean 'RECEIVERS'?",
    ),
    ({5: []}, "E001", "Unknown key 5 in SIGNAL_KIT. Choose from 'ADMIN_MUTING', "),
    (["a.B"], "E002", "SIGNAL_KIT is ['a.B'], which is not a dict. Write SIGNAL_KIT = {"),
    (None, "E002", "SIGNAL_KIT is None, which is not a dict."),
    (
        {"RECEIVERS": "a.B"},
        "E002",
        "SIGNAL_KIT['RECEIVERS'] is 'a.B', of type str. It has to be a list.",
    ),
    ({"EXTRA_SIGNALS": ["a.b"]}, "E002", "SIGNAL_KIT['EXTRA_SIGNALS'] is ['a.b'], of type list."),
    ({"DISCOVER_EXCLUDE": "shop"}, "E002", "of type str. It has to be a list."),
    ({"BULK_SIGNALS": 1}, "E002", "of type int. It has to be True or False."),
    (
        {"REDACT": [1]},
        "E002",
        "SIGNAL_KIT['REDACT'] has 1, of type int. Each item has to be a string.",
    ),
    ({"TRUSTED_PROXIES": "10.0.0.1"}, "E002", "SIGNAL_KIT['TRUSTED_PROXIES'] is '10.0.0.1', of "),
    (
        {"TRUSTED_PROXIES": ["10.0.0.0/33"]},
        "E002",
        "SIGNAL_KIT['TRUSTED_PROXIES'] has '10.0.0.0/33', which is no address and no network. "
        'Write an address such as "10.0.0.1", or a network such as "10.0.0.0/8".',
    ),
    ({"RECEIVERS": [Saves]}, "E003", "SIGNAL_KIT['RECEIVERS'][0] is <class "),
    (
        entry(SAVES, OPTION={}),
        "E003",
        "SIGNAL_KIT['RECEIVERS'][0] has an unknown key 'OPTION'. Did you mean 'OPTIONS'?",
    ),
    ({"RECEIVERS": [{"OPTIONS": {}}]}, "E003", "has no dotted path under 'RECEIVER': None. Write"),
    (entry(SAVES, OPTIONS=["models"]), "E003", "has OPTIONS ['models'], which is no dict."),
    (entry(SAVES, OPTIONS={1: 2}), "E003", "has OPTIONS {1: 2}, which is no dict"),
    (entry(SAVES, NAME=5), "E003", "has the NAME 5, which is no string. Write a string."),
    (
        {"RECEIVERS": [f"{KIT}.AuditLgo"]},
        "E004",
        f'which cannot be imported: Module "{KIT}" does not define a "AuditLgo" '
        f"attribute/class. Did you mean '{KIT}.AuditLog'?",
    ),
    ({"RECEIVERS": ["nowhere.Here"]}, "E004", "No module named 'nowhere'. Give the dotted path"),
    ({"RECEIVERS": ["AuditLog"]}, "E004", "is 'AuditLog', which cannot be imported: "),
    ({"RECEIVERS": [""]}, "E004", "is '', which cannot be imported: "),
    ({"RECEIVERS": [".receivers.AuditLog"]}, "E004", "is '.receivers.AuditLog', which cannot be "),
    ({"RECEIVERS": [f"{HERE}.function"]}, "E005", "which is not a Receiver class. Subclass "),
    ({"RECEIVERS": [f"{HERE}.signal"]}, "E005", "connected with Django's own @receiver"),
    ({"RECEIVERS": ["django.db.models.Model"]}, "E005", "'django.db.models.Model', which is not"),
    (
        options(SAVES, modles=[]),
        "E006",
        "Saves has no option 'modles'. Did you mean 'models'?",
    ),
    (options(SAVES, post_save=1), "E006", "Saves has no option 'post_save'."),
    (options(SAVES, _name="x"), "E006", "Saves has no option '_name'."),
    (options(SAVES, name="x"), "E006", "Saves has no option 'name'."),
    (
        options(SAVES, on_error="ignore"),
        "E007",
        f"The option 'on_error' of {SAVES} is 'ignore', of type str. It has to be 'raise' or "
        f"'log'.",
    ),
    (
        options(SAVES, flush_on=None),
        "E007",
        "of type NoneType. It has to be 'after_commit' or 'before_commit' or 'task'.",
    ),
    (options(SAVES, raw="no"), "E007", "of type str. It has to be True or False."),
    (options(SAVES, bulk="some"), "E007", "It has to be True or False or 'all'."),
    (
        options(SAVES, models="shop.*"),
        "E007",
        f"The option 'models' of {SAVES} is 'shop.*', of type str. It has to be a list, each item "
        f'a string or a class. Write ["shop.*"].',
    ),
    (
        options(SAVES, words=["a", 1]),
        "E007",
        f"The option 'words' of {SAVES} has the item 1, of type int. Each item has to be a "
        f"string.",
    ),
    (options(SAVES, labels=["a"]), "E007", "It has to be a dict."),
    (
        options(SAVES, models=["testapp.Prodct"]),
        "E008",
        f"The option 'models' of {SAVES} has 'testapp.Prodct', but there is no such model. "
        "Did you mean 'testapp.Product'?",
    ),
    (
        options(SAVES, models=["tstapp.*"]),
        "E008",
        "but there is no app 'tstapp'. Did you mean 'testapp'?",
    ),
    (options(SAVES, models=["Product"]), "E008", "has 'Product', but there is no such model. "),
    (options(SAVES, models=[f"{HERE}.function"]), "E008", "but there is no such model."),
    (
        options(SAVES, models=["testapp.*"], exclude=["testapp.Lime"]),
        "E008",
        f"The option 'exclude' of {SAVES} has 'testapp.Lime', but there is no such model. "
        "Did you mean 'testapp.Line'?",
    ),
    (
        {"RECEIVERS": [f"{HERE}.NearlySaves"]},
        "E009",
        "NearlySaves.post_safe() has the name of no signal and of no hook, so it is never called. "
        "Did you mean 'post_save'?",
    ),
    (
        options(f"{HERE}.HalfNearlySaves", models=["testapp.Tag"]),
        "E009",
        "HalfNearlySaves.postsave() has the name of no signal and of no hook, so it is never "
        "called. Did you mean 'post_save'?",
    ),
    (
        {"RECEIVERS": [f"{HERE}.Cautious", f"{HERE}.Cautious"]},
        "E010",
        "Two receivers are named 'Cautious'; the second is SIGNAL_KIT['RECEIVERS'][1]. Give one "
        "of them a NAME of its own: ",
    ),
    (
        {
            "RECEIVERS": [
                {"RECEIVER": f"{HERE}.Cautious", "NAME": "One"},
                {"RECEIVER": f"{HERE}.OneMore", "NAME": "One"},
            ]
        },
        "E010",
        "Two receivers are named 'One'; the second is SIGNAL_KIT['RECEIVERS'][1]. Give one of "
        "them a NAME",
    ),
    (
        options(f"{KIT}.LastModified", models=["testapp.Tag"]),
        "E012",
        "LastModified cannot cover testapp.Tag: it has no ",
    ),
    (
        options(f"{KIT}.AuditLog", models=["testapp.Tag"], fields=["nmae"]),
        "E012",
        "Did you mean 'name'?",
    ),
    (
        options(f"{KIT}.WelcomeEmail", signal="user_signed_upp"),
        "E012",
        "which is no signal with a user",
    ),
    (
        {"EXTRA_SIGNALS": {"post_save": f"{HERE}.signal"}},
        "E013",
        "SIGNAL_KIT['EXTRA_SIGNALS'] redefines 'post_save', the name of a signal of Django. "
        "Choose another name.",
    ),
    (
        {"EXTRA_SIGNALS": {"receiver_failed": f"{HERE}.signal"}},
        "E013",
        "redefines 'receiver_failed', the name of a signal of the kit.",
    ),
    ({"EXTRA_SIGNALS": {"on-save": f"{HERE}.signal"}}, "E013", "'on-save', which cannot be a me"),
    ({"EXTRA_SIGNALS": {"signed up": f"{HERE}.signal"}}, "E013", "'signed up', which cannot be a"),
    ({"EXTRA_SIGNALS": {"_saved": f"{HERE}.signal"}}, "E013", "Choose a public Python identifier"),
    ({"EXTRA_SIGNALS": {7: f"{HERE}.signal"}}, "E013", "has 7, which cannot be a method's name."),
    (
        {"EXTRA_SIGNALS": {"flush": f"{HERE}.signal"}},
        "E013",
        "has 'flush', the name of an option or a method of every receiver.",
    ),
    ({"EXTRA_SIGNALS": {"models": f"{HERE}.signal"}}, "E013", "the name of an option or a method"),
    (
        {"RECEIVERS": [f"{HERE}.OptionLikeASignal"]},
        "E013",
        "OptionLikeASignal.pre_save has the name of a signal, but is no method. Rename it.",
    ),
    (
        {"RECEIVERS": [f"{HERE}.SavesOfNobody"]},
        "E014",
        "SavesOfNobody hears post_save, a signal of models, of no model in particular. Subclass "
        "django_signal_kit.ModelReceiver and say which models.",
    ),
    ({"RECEIVERS": [f"{HERE}.LinksOfNobody"]}, "E014", "LinksOfNobody hears m2m_changed, a "),
    (
        {"RECEIVERS": [f"{HERE}.HearsNothing"]},
        "E015",
        "HearsNothing has no method named after a signal, so it hears nothing. Name a method",
    ),
    ({"RECEIVERS": [f"{HERE}.HearsNothingOfModels"]}, "E015", "such as 'post_save'"),
    (
        {"EXTRA_SIGNALS": {"paid": "nowhere.paid"}},
        "E016",
        "SIGNAL_KIT['EXTRA_SIGNALS']['paid'] is 'nowhere.paid', which cannot be imported: "
        "No module named 'nowhere'. Give the dotted path of a django.dispatch.Signal.",
    ),
    ({"EXTRA_SIGNALS": {"paid": signal}}, "E016", "which cannot be imported"),
    ({"EXTRA_SIGNALS": {"paid": f"{HERE}.function"}}, "E016", "which is no signal. Give the dott"),
    (
        {"DISCOVER_EXCLUDE": ["tests.tesstapp"]},
        "E017",
        "SIGNAL_KIT['DISCOVER_EXCLUDE'] has 'tests.tesstapp', but no such app is installed. "
        "Did you mean 'tests.apps.testapp'?",
    ),
    ({"DISCOVER_EXCLUDE": ["tests.testapp"]}, "E017", "Did you mean 'tests.apps.testapp'?"),
    (
        {"REDACT": ["iban", ""]},
        "E075",
        "SIGNAL_KIT['REDACT'] has '', which is a part of each name: all values would be secrets. "
        'Take it out, or write a part of the names that are meant, such as "iban".',
    ),
    # Case and separators do not matter.
    ({"REDACT": ["_"]}, "E075", "SIGNAL_KIT['REDACT'] has '_', which is a part of each name"),
    *(
        (options(f"{KIT}.{name}", redact=["card", "- "]), "E075", f"'redact' of {name} has '- '")
        for name in ("AuditLog", "LoginLog", "DeletionLog")
    ),
]


@pytest.mark.parametrize(("signal_kit", "id", "sentence"), MISTAKES)
def test_a_mistake_has_one_id_and_one_sentence(
    signal_kit: Any, id: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(settings, "SIGNAL_KIT", signal_kit)
        (message,) = check_signal_kit()
    assert isinstance(message, Error)
    assert message.id == f"signal_kit.{id}"
    assert sentence in f"{message.msg} {message.hint}"
    with pytest.raises(ImproperlyConfigured) as raised:
        with override_settings(SIGNAL_KIT=signal_kit):
            pass
    assert str(raised.value) == f"{message.msg} {message.hint} ({message.id})"


@pytest.mark.parametrize(("signal_kit", "id", "sentence"), MISTAKES)
def test_after_a_mistake_the_wiring_is_what_it_was(
    wire: Any, signal_kit: Any, id: str, sentence: str
) -> None:
    wire((Cautious, {}), ("tests.test_checks.Saves", {"models": ["testapp.*"]}))
    before = [(c.uid, c.sender) for c in registry.connections]
    assert len(before) > 10
    with pytest.raises(ImproperlyConfigured):
        with override_settings(SIGNAL_KIT=signal_kit):
            pass
    assert [(c.uid, c.sender) for c in registry.connections] == before


def test_an_audit_log_without_its_app_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    signal_kit = options(f"{KIT}.AuditLog", models=["testapp.*"])
    apps = [name for name in settings.INSTALLED_APPS if name != "django_signal_kit.audit"]
    with override_settings(INSTALLED_APPS=apps):
        with monkeypatch.context() as patch:
            patch.setattr(settings, "SIGNAL_KIT", signal_kit)
            (message,) = check_signal_kit()
        assert message.id == "signal_kit.E011"
        assert "django_signal_kit.audit" in str(message.hint)
        with pytest.raises(ImproperlyConfigured) as raised:
            with override_settings(SIGNAL_KIT=signal_kit):
                pass
    assert str(raised.value) == f"{message.msg} {message.hint} ({message.id})"


def test_all_mistakes_are_reported_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each receiver asks for the signals, and would tell of the wrong dict as well.
    signal_kit = {
        "RECEIVERS": [SAVES, f"{HERE}.Cautious", "nowhere.Here"],
        "EXTRA_SIGNALS": 5,
        "REDCAT": [],
        "REDACT": "x",
    }
    with monkeypatch.context() as patch:
        patch.setattr(settings, "SIGNAL_KIT", signal_kit)
        ids = [message.id for message in check_signal_kit()]
    assert sorted(str(id) for id in ids) == [
        "signal_kit.E001",
        "signal_kit.E002",
        "signal_kit.E002",
        "signal_kit.E004",
    ]
    with pytest.raises(ImproperlyConfigured) as raised:
        with override_settings(SIGNAL_KIT=signal_kit):
            pass
    assert str(raised.value).count("(signal_kit.E") == 4


def test_a_receiver_without_models_is_warned_of_and_starts(wire: Any) -> None:
    wire(Saves)
    (message,) = check_signal_kit()
    assert isinstance(message, Warning)
    assert message.id == "signal_kit.W001"
    assert message.msg == f"{SAVES} covers no model, so it hears nothing."
    assert message.hint == "Set its option 'models'."


def test_a_pattern_that_matches_nothing_is_warned_of(wire: Any) -> None:
    wire((Saves, {"models": ["staticfiles.*"]}))
    (message,) = check_signal_kit()
    assert message.id == "signal_kit.W001"
    assert message.hint.startswith("Nothing matches 'staticfiles.*'. There is ")


def test_a_class_that_no_model_has_as_its_base_is_warned_of(wire: Any) -> None:
    wire((Saves, {"models": [TagForm]}))
    (message,) = check_signal_kit()
    assert message.id == "signal_kit.W001"


def test_a_subclass_may_leave_a_signal_to_others(wire: Any) -> None:
    wire(LogWithoutDeletions)
    assert check_signal_kit() == []
    signals = {connection.signal_name for connection in registry.connections}
    assert "post_save" in signals
    assert "post_delete" not in signals


def test_what_is_right_has_no_messages(wire: Any) -> None:
    wire((Saves, {"models": ["testapp.*"]}), Cautious)
    assert check_signal_kit() == []


def test_checking_connects_nothing(wire: Any) -> None:
    wire((Saves, {"models": ["testapp.*"]}))
    before = list(registry.connections)
    check_signal_kit()
    assert registry.connections == before


def test_a_retention_of_nobody_is_a_warning() -> None:
    retention = {"testapp.Tag": "1d", "testapp.tag": "1d", "testapp.*": "2d", "__all__": "3d"}
    with override_settings(
        SIGNAL_KIT={"RETENTION": {**retention, "testapp.Tga": "1d", "gone.*": "1d"}}
    ):
        first, second = check_signal_kit()
    assert (first.id, second.id) == ("signal_kit.W003",) * 2
    assert (first.level, first.hint) == (30, "Did you mean 'testapp.Tag'?")
    assert "'gone.*', and nothing of this name" in second.msg


def test_a_retention_that_cannot_be_read_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SIGNAL_KIT", {"RETENTION": {"testapp.Tag": "soon"}})
    assert [message.id for message in check_signal_kit()] == ["signal_kit.E002"]
