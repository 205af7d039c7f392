"""Takes secrets out of JSON within the database: what ``rows.secrets`` says of a name, as SQL.

Of names in ASCII it says just the same; where letters are spelt otherwise it may say too much.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from django_signal_kit.audit.capture.postgresql.statements import quote
from django_signal_kit.rows import secrets
from django_signal_kit.rows.values import REDACTED

#: Deeper than that nobody looks: all is replaced.
_DEEPEST = 60
# Letters of which case-folding makes one of ASCII.
_ODD = (
    "\xdf\u0130\u0149\u017f\u01f0\u1e96\u1e97\u1e98\u1e99\u1e9a\u1e9e\u212a"
    "\ufb00\ufb01\ufb02\ufb03\ufb04\ufb05\ufb06"
)
_WORDS = "(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
_REDACTED = quote(f'"{REDACTED}"')


def write_redaction(name: str, extra: tuple[str, ...]) -> str:
    """What the function ``name(document text, depth integer)`` does, which takes JSON, as
    PostgreSQL writes it, and returns it with what stands under the keys of secrets replaced.
    ``extra``: parts of names, beside those that the kit knows."""
    # Parts of one's own may be spelt with any separators.
    is_clean = "false" if extra else f"document !~* {quote('|'.join(secrets.STEMS))}"
    return f"""#variable_conflict use_variable
BEGIN
  IF document IS NULL OR left(document, 1) NOT IN ('{{', '[') OR {is_clean} THEN
    RETURN document;
  ELSIF depth > {_DEEPEST} THEN
    RETURN {_REDACTED};
  ELSIF left(document, 1) = '[' THEN
    RETURN (
      SELECT '[' || coalesce(string_agg({name}(item::text, depth + 1), ',' ORDER BY place), '')
        || ']'
      FROM jsonb_array_elements(document::jsonb) WITH ORDINALITY AS items (item, place)
    );
  END IF;
  RETURN (
    SELECT '{{' || coalesce(string_agg(to_json(pair.key)::text || ':' || CASE
        WHEN {" OR ".join(_list_conditions(extra))}
        THEN {_REDACTED}
        ELSE {name}(pair.value::text, depth + 1)
      END, ','), '') || '}}'
    FROM (
      SELECT given.key, given.value, {_join_words("given.key")} AS words
      FROM jsonb_each(document::jsonb) AS given
    ) AS pair
  );
END"""


def _join_words(key: str) -> str:
    """ "apiKeys" -> "_api_key_"."""
    letters = f"regexp_replace({key}, '[^A-Za-z]+', '_', 'g')"
    words = f"regexp_replace({letters}, {quote(_WORDS)}, '_', 'g')"
    folded = f"""'_' || btrim(lower({words} COLLATE "C"), '_') || '_'"""
    return f"regexp_replace({folded}, '([^_]{{2}}[^s_])s(?=_)', E'\\\\1', 'g')"


def _list_conditions(extra: tuple[str, ...]) -> Iterator[str]:
    yield (
        f"(pair.words ~ {quote(_write_secrets())} AND NOT (pair.key ~ '^[ -~]*$' "
        f"AND pair.words ~ {quote(_write_exceptions())}))"
    )
    if extra:
        folded = {secrets.fold(part) for part in extra}
        ascii_only = sorted(part for part in folded if part.isascii())
        letters = """lower(regexp_replace(pair.key, '[^A-Za-z0-9]+', '', 'g') COLLATE "C")"""
        if ascii_only:
            yield f"{letters} ~ {quote('|'.join(map(re.escape, ascii_only)))}"
            yield f"pair.key ~ {quote(f'[{_ODD}]')}"
        if len(ascii_only) < len(folded):
            # Who knows how the database would fold them?
            yield "pair.key ~ '[^ -~]'"


def _write_secrets() -> str:
    """A regular expression of the words of a secret's name."""
    return "|".join(
        (
            f"_({_any(secrets.WORDS)})_",
            f"({_any(secrets.ENDINGS)})_",
            "_password(?!less)",
            f"_({_any(secrets.KEYS)})_?key_",
            f"_({_any('_'.join(phrase) for phrase in secrets.PHRASES)})_",
            f"^_({_any(word for (word,) in secrets.WHOLE)})_$",
        )
    )


def _write_exceptions() -> str:
    """One of the words of a name that tells of a secret and has none."""
    return f"^_({_any(secrets.FIRST)})_[^_]|[^_]_({_any(secrets.LAST)})_$"


def _any(words: Iterable[str]) -> str:
    return "|".join(sorted(words))
