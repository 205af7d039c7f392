"""Templates over a row, such as ``"product:{pk}"``: what they name, and what they render to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from string import Formatter
from typing import Any

from django.core.cache.utils import make_template_fragment_key

_PERCENT = re.compile(r"%(\(\w+\))?[sd]\b")


def render(
    keys: Sequence[str], fragments: Mapping[str, Sequence[str]], instance: object
) -> Iterator[str]:
    """The cache keys of ``instance``: those of templates, and those of ``{% cache %}`` fragments,
    by name, with the templates of what they vary on."""
    values = _Attributes(instance)
    for template in keys:
        yield template.format_map(values)
    for name, vary_on in fragments.items():
        yield make_template_fragment_key(
            name, [template.format_map(values) for template in vary_on]
        )


def get_names(keys: Sequence[str], fragments: Mapping[str, Sequence[str]]) -> list[str]:
    """The attributes of a row that the templates name, each once. Raises TypeError or ValueError
    if one cannot be read."""
    templates = list(keys)
    for name, parts in fragments.items():
        if isinstance(parts, str):
            raise TypeError(f"the fragment {name!r} has {parts!r}, which is no list")
        templates += parts
    return list(dict.fromkeys(_parse(templates)))


def _parse(templates: Iterable[str]) -> Iterator[str]:
    for template in templates:
        try:
            parts = list(Formatter().parse(template))
        except ValueError as error:
            raise ValueError(f"{template!r}: {error}") from error
        for literal, name, _, _ in parts:
            if _PERCENT.search(literal):
                raise ValueError(f"{template!r} has a % where braces are meant")
            if name is None:
                continue
            attribute = name.split(".")[0].split("[")[0]
            if not attribute or attribute.isdigit():
                raise ValueError(f"{template!r} names no attribute between its braces")
            yield attribute


class _Attributes(Mapping[str, Any]):
    """An object's attributes as str.format_map() wants them."""

    def __init__(self, instance: object) -> None:
        self.instance = instance

    def __getitem__(self, name: str) -> Any:
        return getattr(self.instance, name)

    def __iter__(self) -> Iterator[str]:
        return iter(vars(self.instance))

    def __len__(self) -> int:
        return len(vars(self.instance))
