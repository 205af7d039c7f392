"""What is a secret, by its name: of a field, of a key in JSON, of a column that names a row."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from itertools import pairwise
from typing import Any

from django.db.models import AutoField, Field, Model

#: Each of them makes a secret of a name that has it among its words, in singular or plural.
WORDS = frozenset(
    (
        "auth",
        "authentication",
        "authorization",
        "credential",
        "jwt",
        "oauth",
        "pass",
        "passcode",
        "passphrase",
        "passwd",
        "password",
        "pwd",
        "secret",
        "sid",
        "signature",
        "token",
    )
)
#: A word that ends so is two, written as one: "authtoken", "dbpassword".
ENDINGS = ("credential", "passphrase", "passwd", "password", "secret", "token")
#: A key is a secret if it opens something; by itself, or as a primary, foreign, public, sort or
#: cache key, it is a name. What is missing here can be given in REDACT; what is too much could
#: not be taken back.
KEYS = frozenset(
    (
        "access",
        "account",
        "activation",
        "aes",
        "api",
        "auth",
        "client",
        "confirmation",
        "consumer",
        "crypto",
        "decryption",
        "deploy",
        "encryption",
        "hmac",
        "invitation",
        "jwt",
        "licence",
        "license",
        "login",
        "master",
        "password",
        "private",
        "recovery",
        "registration",
        "reset",
        "root",
        "rsa",
        "secret",
        "security",
        "server",
        "service",
        "session",
        "shared",
        "signature",
        "signing",
        "ssh",
        "ssl",
        "symmetric",
        "tls",
        "token",
        "unlock",
        "verification",
        "webhook",
    )
)
#: Words that are one's name together.
PHRASES = frozenset(
    (
        ("http", "cookie"),
        ("session", "cookie"),
        ("session", "data"),
        ("session", "id"),
        ("set", "cookie"),
    )
)
#: Names that are secrets by themselves, and not with other words.
WHOLE = frozenset((("cookie",), ("jsessionid",), ("phpsessid",), ("sessid",), ("sessionid",)))
#: How many there are of them, whether there is one, and since when, is none.
FIRST = frozenset(("has", "is", "max", "min", "num", "total"))
LAST = frozenset(("at", "count", "length", "limit"))
# What a model of tokens calls that by which it knows one; and what else is known by a secret key.
_VALUES = frozenset(("code", "digest", "hash", "key", "value"))
_KNOWN_BY_KEY = frozenset(("activation", "confirmation", "invitation", "session"))

#: In the name of each secret is one of these, in small letters and in one piece: what has none of
#: them needs no closer look.
STEMS = (
    *("auth", "cookie", "credential", "jwt", "key", "pass", "pwd", "secret", "sess", "sid"),
    *("signature", "token"),
)

_SEPARATORS = re.compile(r"[\W_]+")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")


@lru_cache(maxsize=4096)
def is_secret(name: str, extra: tuple[str, ...] = ()) -> bool:
    """Does a field or key of this name hold a secret? ``extra`` are further parts of names.

    By whole words, in ``snake_case``, ``camelCase`` and ``kebab-case``: "author" has nothing to do
    with "auth". Parts that are given are looked for anywhere, without case and separators.
    """
    if extra:
        folded = fold(name)
        if any(fold(part) in folded for part in extra):
            return True
    words = _split(name)
    if not words or (len(words) > 1 and (words[0] in FIRST or words[-1] in LAST)):
        return False
    return (
        tuple(words) in WHOLE
        or any(_is_secret_word(word) for word in words)
        or any(_is_secret_pair(pair) for pair in pairwise(words))
    )


def fold(name: str) -> str:
    """``name`` without case and separators."""
    return _SEPARATORS.sub("", name).casefold()


def _split(name: str) -> list[str]:
    return [_to_singular(word) for word in _WORD.findall(name)]


def _to_singular(word: str) -> str:
    word = word.casefold()
    return word if word.endswith("ss") or len(word) < 4 else word.removesuffix("s")


def _is_secret_word(word: str) -> bool:
    return (
        word in WORDS
        or word.endswith(ENDINGS)
        or (word.startswith("password") and not word.startswith("passwordless"))
        or (word.endswith("key") and word[:-3] in KEYS)
    )


def _is_secret_pair(pair: tuple[str, str]) -> bool:
    return pair in PHRASES or (pair[1] == "key" and pair[0] in KEYS)


def is_secret_field(field: Field[Any, Any], extra: tuple[str, ...] = ()) -> bool:
    """Does a concrete field hold a secret: by its name, as what a model of tokens knows a token
    by, or as a foreign key to such a column?"""
    if is_secret(field.name, extra):
        return True
    remote: Any = field.remote_field
    if remote is not None:
        target = getattr(field, "target_field", None)
        return target is not None and target is not field and is_secret_field(target, extra)
    if field.name not in _VALUES or not field.unique:
        return False
    name = field.model.__name__
    if field.name == "key" and not _KNOWN_BY_KEY.isdisjoint(_split(name)[-1:]):
        return True
    return _is_called_secret(name)


def _is_called_secret(name: str) -> bool:
    """Is a row of a model of this name a secret? Of an AccessToken it is, of an AuthGroup not."""
    *others, last = _split(name) or [""]
    return _is_secret_word(last) or (bool(others) and _is_secret_pair((others[-1], last)))


def has_secret_key(model: type[Model], extra: tuple[str, ...] = ()) -> bool:
    """Is the primary key of ``model``, or a part of it, a secret?"""
    return any(is_secret_field(field, extra) for field in model._meta.pk_fields)


def is_token_model(model: type[Model], extra: tuple[str, ...] = ()) -> bool:
    """Are the rows of ``model`` secrets themselves, as sessions and tokens are?

    Its primary key is a secret; or it is called a token, and knows its rows by secrets alone.
    """
    if is_session_model(model) or has_secret_key(model, extra):
        return True
    if not _is_called_secret(model.__name__):
        return False
    known_by = [
        field
        for field in model._meta.concrete_fields
        if field.unique and field.remote_field is None and not _is_surrogate(field)
    ]
    return bool(known_by) and all(is_secret_field(field, extra) for field in known_by)


def is_session_model(model: type[Model]) -> bool:
    """Is it that of django.contrib.sessions, or another subclass of its AbstractBaseSession?"""
    # Who has no sessions has not imported them.
    module = sys.modules.get("django.contrib.sessions.base_session")
    return module is not None and issubclass(model, module.AbstractBaseSession)


def _is_surrogate(field: Field[Any, Any]) -> bool:
    return field.primary_key and (isinstance(field, AutoField) or field.has_default())
