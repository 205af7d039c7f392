"""No secret gets into the log by a trigger of MariaDB, whatever its key is called."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection, models
from hypothesis import example, given
from hypothesis import strategies as st

from django_signal_kit.audit.capture.mysql.secrets import declare_documents, hide_secrets
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.rows.secrets import KEYS, is_secret
from tests.audit.capture.mysql import Install, list_pieces, only_on_mysql
from tests.audit.capture.mysql import install as install

pytestmark = [pytest.mark.django_db(transaction=True), only_on_mysql]

HIDDEN = "[redacted]"
WORDS = [
    *("auth", "authorization", "credentials", "jwt", "oauth", "pass", "passcode", "passphrase"),
    *("passwd", "password", "pwd", "secret", "sid", "signature", "token", "cookie", "session"),
    *("http", "set", "data", "id", "key", "sessid", "jsessionid", "has", "count", "author", "x"),
    *("é", "\u017f", "\u2028", "7", "_", "-", ".", "\\", '"', "\n", "\x00", " ", *sorted(KEYS)),
]


def ask(document: str, *extra: str) -> str:
    """What the server makes of a document."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"BEGIN NOT ATOMIC {declare_documents(['document'], extra)} "
            f"SET document = _utf8mb4 x'{document.encode().hex()}'; "
            f"{hide_secrets('document', repr(HIDDEN), extra)} SELECT document; END"
        )
        return str(cursor.fetchone()[0])


words = st.sampled_from(WORDS)
styles = st.sampled_from([str, str.upper, str.title, str.capitalize, lambda word: f"{word}s"])
names = st.lists(st.tuples(words, styles), min_size=1, max_size=4).flatmap(
    lambda found: st.sampled_from(["", "_", "-", " ", "é"]).map(
        lambda between: between.join(style(word) for word, style in found)
    )
)


@given(name=names | st.text(max_size=20), ascii=st.booleans())
@example(name='to"ken', ascii=True)
@example(name='"token', ascii=True)
@example(name="api\u2028key", ascii=True)
@example(name="userPass", ascii=True)
@example(name="SIDs", ascii=True)
@example(name="a\npass", ascii=True)
@example(name="\xeasids", ascii=True)
@example(name="api keys", ascii=False)
def test_what_is_a_secret_to_python_is_one_to_the_server(name: str, ascii: bool) -> None:
    name = name.encode("utf-8", "ignore").decode()
    document = json.dumps([{"a": {name: "value"}}], ensure_ascii=ascii)
    assert ask(document) in ([HIDDEN] if is_secret(name) else [HIDDEN, document])


@given(
    name=names | st.text(max_size=20),
    extra=st.sampled_from(["card", "card_number", "ÉTÉ", "straße", "x7", "_", "k"]),
    ascii=st.booleans(),
)
@example(name="cardNumber", extra="card_number", ascii=True)
@example(name="CARD\u2028-7number", extra="card_7_number", ascii=True)
@example(name="strasse", extra="straße", ascii=True)
@example(name="\u212a", extra="k", ascii=True)
def test_so_it_is_with_names_that_are_given(name: str, extra: str, ascii: bool) -> None:
    name = name.encode("utf-8", "ignore").decode()
    document = json.dumps({name: "value"}, ensure_ascii=ascii)
    assert ask(document, extra) in ([HIDDEN] if is_secret(name, (extra,)) else [HIDDEN, document])


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        "token",
        {"name": "a token: secret", "text": '{"token":1}'},
        {"author": {"key": "b", "keys": [1]}, "monkey": 2, "inside": 3, "compass": 4},
        {"api": {"key": 1}, "session": {"text": "id"}, "größe": "é", "sort_key": 1},
        {"text": "token" * 10, "more": ["\\", '"', "\\u0041", "key"] * 100},
    ],
)
def test_a_document_without_secrets_is_told_as_it_is(document: Any) -> None:
    for text in (json.dumps(document), json.dumps(document, ensure_ascii=False, indent=2)):
        assert ask(text) == text


@pytest.mark.parametrize(
    "document",
    [
        '{"a": [{"b": {"api_token": "x"}}]}',
        '{"t\\u006fken" : "x"}',
        '{"token"\n\t:\n"x"}',
        '{"a\\\\": 1, "token": "x"}',
        '{"a": "\\"", "token": "x"}',
        '{"a": "\\\\", "token": "x"}',
        json.dumps({"a": "x" * 70_000, "token": "x"}),
        json.dumps({**{f"a{number}": '"\\' * 5 for number in range(2_000)}, "token": "x"}),
    ],
)
def test_a_key_is_found_wherever_it_stands(document: str) -> None:
    assert ask(document) == HIDDEN


def test_a_long_document_in_which_a_secret_may_be_is_not_looked_through() -> None:
    text = json.dumps({"a": "token" * 20_000})
    assert ask(text) == HIDDEN
    text = json.dumps({"a": "x" * 100_000})
    assert ask(text) == text


def test_columns_and_documents_keep_their_secrets(make_model: Any, install: Install) -> None:
    model = make_model(
        "Holder",
        models.Model,
        api_token=models.CharField(max_length=40, null=True),
        data=models.JSONField(default=dict),
    )
    install(model, redact=["card"])
    row = model.objects.create(api_token="hush", data={"cardNumber": "hush"})
    row.api_token = "hush2"
    row.data = {"a": {"token": "hush"}}
    row.save()
    row.api_token = None
    row.data = {"b": 1}
    row.save()
    row.delete()
    entries = AuditEntry.objects.order_by("pk")
    assert [entry.changes for entry in entries] == [
        {"id": [None, entries[0].changes["id"][1]], **_tell(None, HIDDEN)},
        _tell(HIDDEN, HIDDEN),
        {"api_token": [HIDDEN, None], "data": [HIDDEN, {"b": 1}]},
        {"id": [entries[0].changes["id"][1], None], "data": [{"b": 1}, None]},
    ]
    assert not AuditEntry.objects.filter(changes__contains="hush").exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT changes FROM signal_kit_audit_auditentry")
        assert "hush" not in str(cursor.fetchall())


def _tell(old: Any, new: Any) -> dict[str, Any]:
    return {"api_token": [old, new], "data": [old, new]}


def test_a_trigger_has_the_patterns_once(make_model: Any, install: Install) -> None:
    fields = {name: models.JSONField(null=True) for name in ("first", "second", "third")}
    model = make_model("Holder", models.Model, **fields)
    receiver = install(model)
    for part in (b"(?i:cookie", rb"[:\[,]\s*"):
        counts = [piece.create.count(part.hex()) for piece in list_pieces(receiver, model)]
        assert counts == [1, 1, 1]
    model.objects.create(first={"token": 1}, second={"a": 1}, third=[{"b": {"pwd": 1}}])
    model.objects.update(first=None, second={"sid": 1}, third={"c": 1})
    told = [entry.changes for entry in AuditEntry.objects.order_by("pk")]
    del told[0]["id"]
    assert told == [
        {"first": [None, HIDDEN], "second": [None, {"a": 1}], "third": [None, HIDDEN]},
        {"first": [HIDDEN, None], "second": [{"a": 1}, HIDDEN], "third": [HIDDEN, {"c": 1}]},
    ]
