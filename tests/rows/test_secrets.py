"""What is a secret, by its name."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.base_session import AbstractBaseSession
from django.contrib.sessions.models import Session
from django.db import models
from django.test.utils import isolate_apps
from django.views.debug import SafeExceptionReporterFilter
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit.rows import secrets
from django_signal_kit.rows.secrets import (
    has_secret_key,
    is_secret,
    is_secret_field,
    is_session_model,
    is_token_model,
)
from tests.apps.testapp.models import Product

SECRETS = [
    "access_key",
    "access_token",
    "api_key",
    "api_secret",
    "auth",
    "auth_token",
    "authorization",
    "client_secret",
    "credential",
    "encryption_key",
    "http_cookie",
    "jwt",
    "oauth_token",
    "pass",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "refresh_token",
    "secret",
    "secret_key",
    "session_id",
    "session_key",
    "sid",
    "signature",
    "signing_key",
    "smtp_password",
    "token",
    "webhook_key",
]
HARMLESS = [
    "author",
    "author_name",
    "authored",
    "authority",
    "bypass",
    "cache_key",
    "capital",
    "compass",
    "cookie_consent",
    "design",
    "foreign_key",
    "has_password",
    "hockey",
    "is_secret",
    "key",
    "keyboard",
    "keyword",
    "max_tokens",
    "min_tokens",
    "monkey",
    "name",
    "object_key",
    "partition_key",
    "passage",
    "passenger",
    "password_changed_at",
    "passwordless_login",
    "primary_key",
    "public_key",
    "resident",
    "secretariat",
    "secretary",
    "side",
    "sort_key",
    "token_count",
    "token_limit",
    "tokenized_count",
    "tokenizer",
    "total_tokens",
    "turkey",
    "api",
    "api_version",
    "unique_key",
]


def spell(words: list[str]) -> list[str]:
    """``words`` in each way in which names are spelled."""
    return [
        "_".join(words),
        "_".join(words).upper(),
        "-".join(words),
        "-".join(word.title() for word in words),
        ".".join(words),
        " ".join(words),
        words[0] + "".join(word.title() for word in words[1:]),
        "".join(word.title() for word in words),
    ]


@pytest.mark.parametrize("name", SECRETS)
def test_names_of_secrets_are_known_in_any_spelling(name: str) -> None:
    words = name.split("_")
    for found in (words, [*words, "hash"], ["old", *words], ["user", *words, "2"]):
        for spelled in spell(found):
            assert is_secret(spelled), spelled


@pytest.mark.parametrize("name", HARMLESS)
def test_other_names_are_no_secrets_in_any_spelling(name: str) -> None:
    for spelled in spell(name.split("_")):
        assert not is_secret(spelled), spelled


@pytest.mark.parametrize(
    "name",
    [
        "password1",
        "passwords",
        "PASSWORD",
        "apikey",
        "APIKey",
        "authtoken",
        "csrfmiddlewaretoken",
        "dbpassword",
        "passwordhash",
        "clientsecret",
        "accesskey",
        "user[password]",
        "form-0-token",
        "JSESSIONID",
        "Cookie",
        "Set-Cookie",
        "X-API-Key",
        "tokens",
        "sessionid",
        "Proxy-Authorization",
    ],
)
def test_words_that_are_written_as_one_and_in_plural_are_known(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["", "_", "42", "é", "[]", "пароль", "\x00", "k" * 10_000])
def test_whatever_a_name_is_it_harms_nobody(name: str) -> None:
    assert not is_secret(name)


def test_what_django_hides_is_hidden_but_for_harmless_words() -> None:
    hidden = SafeExceptionReporterFilter.hidden_settings
    for name in SECRETS:
        # Django does not know these, or only in part.
        if name.split("_")[0] not in ("credential", "jwt", "sid", "session"):
            assert hidden.search(name), name
    assert {name for name in HARMLESS if hidden.search(name)} >= {"author", "monkey", "keyboard"}


def test_more_names_of_secrets_can_be_given() -> None:
    assert is_secret("card_number", ("cardnumber",))
    assert is_secret("IBAN", ("iban",))
    assert is_secret("my_iban_2", ("IBAN",))
    assert not is_secret("card_number", ("iban",))


words = st.from_regex(r"[a-z]{1,8}", fullmatch=True)


@given(st.sampled_from(SECRETS), st.lists(words, max_size=2), st.lists(words, max_size=2))
def test_a_secret_among_other_words_is_one(name: str, before: list[str], after: list[str]) -> None:
    first, last = {"has", "is", "max", "min", "num", "total"}, {"at", "count", "length", "limit"}
    found = [*before, *name.split("_"), *after]
    if found[0] in first or found[-1].removesuffix("s") in last or found[-1] in last:
        return
    for spelled in spell(found):
        assert is_secret(spelled), spelled


@given(words, words, st.sampled_from(["author", "secretary", "monkey", "passenger", "tokenizer"]))
def test_a_word_that_only_begins_or_ends_like_one_is_none(a: str, b: str, word: str) -> None:
    if not is_secret(f"{a}_{b}") and not is_secret(f"{b}_{a}"):
        assert not is_secret(f"{word}_{a}_{b}")
        assert not is_secret(f"{a}_{b}_{word}")


# Columns


class Base(models.Model):
    class Meta:
        abstract = True
        app_label = "testapp"


@isolate_apps("tests.apps.testapp")
def test_the_key_of_a_token_is_a_secret_and_that_of_a_country_is_not() -> None:
    class Token(Base):
        key = models.CharField(max_length=40, primary_key=True)
        user = models.OneToOneField(User, models.CASCADE)
        created = models.DateTimeField()

    class Country(Base):
        key = models.CharField(max_length=2, primary_key=True)

    class Use(Base):
        grant = models.ForeignKey(Token, models.CASCADE)
        country = models.ForeignKey(Country, models.CASCADE)

    class NarrowToken(Token):
        pass

    assert has_secret_key(Token)
    assert is_token_model(Token)
    assert is_token_model(NarrowToken)
    assert has_secret_key(NarrowToken)
    assert is_secret_field(Use._meta.get_field("grant"))
    assert not has_secret_key(Country)
    assert not is_token_model(Country)
    assert not is_secret_field(Use._meta.get_field("country"))
    assert not is_token_model(Use)


@isolate_apps("tests.apps.testapp")
def test_a_model_of_tokens_knows_them_by_secrets_alone() -> None:
    class AccessToken(Base):
        token = models.CharField(max_length=40, unique=True)
        user = models.OneToOneField(User, models.CASCADE)

    class ApiKey(Base):
        id = models.UUIDField(primary_key=True, default=int)
        digest = models.CharField(max_length=40, unique=True)

    class NamedToken(Base):
        name = models.CharField(max_length=40, unique=True)
        token = models.CharField(max_length=40, unique=True)

    class Integration(Base):
        api_token = models.CharField(max_length=40, unique=True)

    class AuthGroup(Base):
        code = models.CharField(max_length=40, unique=True)

    class EmailConfirmation(Base):
        key = models.CharField(max_length=40, unique=True)

    class Member(Base):
        access = models.ForeignKey(AccessToken, models.CASCADE, to_field="token")

    assert is_token_model(AccessToken)
    assert not has_secret_key(AccessToken)
    assert is_token_model(ApiKey)
    assert not is_token_model(NamedToken)
    assert not is_token_model(Integration)
    assert not is_secret_field(AuthGroup._meta.get_field("code"))
    assert is_secret_field(EmailConfirmation._meta.get_field("key"))
    assert is_secret_field(Member._meta.get_field("access"))


def test_sessions_are_secrets() -> None:
    assert is_session_model(Session)
    assert is_token_model(Session)
    assert is_secret_field(Session._meta.get_field("session_data"))
    assert not is_token_model(Product)
    assert not is_token_model(User)
    assert has_secret_key(Product, ("id",))


@isolate_apps("tests.apps.testapp")
def test_sessions_of_the_projects_own_are_secrets() -> None:
    class Visit(AbstractBaseSession):
        class Meta:
            app_label = "testapp"

    assert is_session_model(Visit)
    assert is_token_model(Visit)


def test_each_name_of_a_secret_has_one_of_the_stems() -> None:
    names = [
        *secrets.WORDS,
        *secrets.ENDINGS,
        *(f"{word}key" for word in secrets.KEYS),
        *("_".join(words) for words in (*secrets.PHRASES, *secrets.WHOLE)),
    ]
    assert [name for name in names if not any(stem in name for stem in secrets.STEMS)] == []
