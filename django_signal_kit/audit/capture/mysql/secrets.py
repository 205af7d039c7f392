"""JSON in which a key may be a secret.

Triggers cannot walk through a document, so that one with such a key is replaced whole. Whatever is
a secret to :mod:`django_signal_kit.rows.secrets` is one here, and some names more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from django_signal_kit.rows.secrets import KEYS, STEMS

# In documents that are longer nobody looks for the keys: a secret may be anywhere in them.
_LONGEST = 65_535
# What one of these is in has a key that is a secret, or none has.
_SIGNS = (*map("'{}'".format, STEMS), "_utf8mb4 x'5c753030'")
# A text that is no key. From quote to quote there is either a text or none of one, so that no key
# is ever taken for it; in the place of what is, there is a quote, which parts two words.
_STRING = r'[:\[,]\s*+"(?:[^"\\]++|\\.)*+"(?!\s*+:)'
# Between two words of one key: what is no letter, or an escape of one that is none.
_BETWEEN = r'(?:[^a-zA-Z"\\]|\\u[0-9a-fA-F]{4}|\\.)*+'
_BETWEEN_PARTS = r'(?:[^a-zA-Z0-9"\\]|\\u[0-9a-fA-F]{4}|\\.)*+'
# Where a word in small letters begins; the last letter of an escape is none.
_START = r"(?:(?<![a-z])|(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{4}))"
# Variables of a trigger that have the patterns.
_TEXTS_NAME, _KEYS_NAME = "plain_texts", "secret_keys"
_NAMES = (
    r"(?i:cookie|credential|jwt|passcode|passphrase|passw|pwd|secret|signature|token)",
    # "author" has nothing to do with it, "authorization" has.
    r"(?i:auth)(?!or(?!i))",
    # As words of their own: not in "compass" or "inside".
    rf"(?:{_START}pass|P[aA][sS][sS])(?![a-z])",
    rf"(?:{_START}sid|S[iI][dD])s?(?![a-z])",
    rf"(?i:sess|sessions?){_BETWEEN}(?i:data|id)",
    rf"(?i:{'|'.join(sorted(KEYS))})[sS]?{_BETWEEN}(?i:key)",
    # A letter that somebody has hidden from us.
    r"\\u00[0-7]",
)


def declare_documents(names: Iterable[str], extra: tuple[str, ...]) -> str:
    """Declarations of variables for documents, and of what :func:`hide_secrets` looks for in them:
    a trigger has it once, however many documents there are."""
    patterns = {_TEXTS_NAME: _STRING, _KEYS_NAME: "|".join((*_NAMES, *_list_names(extra)))}
    declared = "".join(
        f"DECLARE {name} TEXT CHARACTER SET utf8mb4 DEFAULT {_quote(pattern)};\n"
        for name, pattern in patterns.items()
    )
    # Byte by byte, a server looks through them sooner.
    kind = "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    return f"DECLARE {', '.join(names)} {kind};\n{declared}"


def hide_secrets(variable: str, redacted: str, extra: tuple[str, ...]) -> str:
    """A statement that puts ``redacted`` into ``variable`` if the document in it may have secrets.
    ``extra``: parts of names, as :func:`~django_signal_kit.rows.secrets.is_secret` takes them."""
    signs = f"LOCATE(':', {variable})"
    if not extra:
        small = f"LOWER({variable})"
        found = " OR ".join(f"LOCATE({sign}, {small})" for sign in _SIGNS)
        signs = f"{signs} AND ({found})"
    keys = f"REGEXP_REPLACE({variable}, {_TEXTS_NAME}, '\"')"
    # Whatever a server makes of what it cannot do, it gives nothing away. In a statement of its
    # own: a server gets ready for each part of one, and for these it takes long.
    return (
        f"IF {signs} THEN\n"
        f"IF LENGTH({variable}) > {_LONGEST} OR COALESCE({keys} REGEXP {_KEYS_NAME}, 1) THEN\n"
        f"SET {variable} = {redacted};\nEND IF;\nEND IF;\n"
    )


def _list_names(extra: Iterable[str]) -> Iterable[str]:
    for part in extra:
        letters = re.sub(r"[\W_]+", "", part).casefold()
        yield f"(?i:{_BETWEEN_PARTS.join(map(re.escape, letters))})"
        # Who knows what a letter is that is not of ASCII, without its case.
        yield r"[^\x00-\x7f]|\\u"


def _quote(pattern: str) -> str:
    # One server has backslashes for itself, another has not.
    return f"_utf8mb4 x'{pattern.encode().hex()}'"
