"""What names a fragment of a template: its name, what it varies on, its tags and its cache."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import Formatter
from typing import Any

from django.core.cache.utils import make_template_fragment_key
from django.template import TemplateSyntaxError, Variable, VariableDoesNotExist
from django.template.base import FilterExpression, Parser, token_kwargs
from django.template.context import Context


def split(bits: Sequence[str], parser: Parser) -> tuple[list[str], dict[str, FilterExpression]]:
    """The words of a tag, and its options such as ``tags=…``."""
    plain: list[str] = []
    options: dict[str, FilterExpression] = {}
    for bit in bits:
        if "=" in bit.split('"')[0].split("'")[0]:
            options |= token_kwargs([bit], parser)
        else:
            plain.append(bit)
    return plain, options


class Fragment:
    """Fragments of a template, one for each set of what they vary on."""

    def __init__(
        self, tag: str, words: Sequence[str], options: dict[str, FilterExpression], parser: Parser
    ) -> None:
        self.tag = tag
        self.name, *self.vary_on = (parser.compile_filter(word) for word in words)
        self.tags = options["tags"]
        self.using = options.get("using")
        constant = self.tags.var
        is_constant = isinstance(constant, str) and not self.tags.filters
        self.parts = self._parse(str(constant)) if is_constant else None

    def _parse(self, text: str) -> list[tuple[str, Variable | None]]:
        """``text`` as what stands as it is, and the variable that comes after it."""
        try:
            parts = [(literal, name) for literal, name, *_ in Formatter().parse(text)]
            if "" in (name for _, name in parts):
                raise ValueError("there is nothing between its braces")
            return [(literal, None if name is None else Variable(name)) for literal, name in parts]
        except (ValueError, TemplateSyntaxError) as error:
            raise self._wrong(
                f'which cannot be read: {error}. Write tags="product:{{product.pk}}"'
            ) from error

    def get_key(self, context: Context) -> str:
        """The key as Django's ``{% cache %}`` makes it."""
        vary_on = [part.resolve(context) for part in self.vary_on]
        return make_template_fragment_key(self.name.resolve(context), vary_on)

    def get_alias(self, context: Context) -> str:
        return "default" if self.using is None else self.using.resolve(context)

    def get_tags(self, context: Context) -> list[str]:
        tags = self.tags.resolve(context) if self.parts is None else self._fill(context)
        if isinstance(tags, str):
            return [tag for part in tags.split(",") if (tag := part.strip())]
        if not isinstance(tags, Iterable):
            raise self._wrong(
                f"which is {tags!r}. Give it a list of tags, or a text with commas between them"
            )
        return [str(tag) for tag in tags]

    def _fill(self, context: Context) -> str:
        said: list[Any] = []
        for literal, variable in self.parts or ():
            said.append(literal)
            if variable is not None:
                try:
                    said.append(variable.resolve(context))
                except VariableDoesNotExist as error:
                    raise self._wrong(
                        f"and there is no {variable.var!r} in the template. Name a variable"
                    ) from error
        return "".join(map(str, said))

    def _wrong(self, sentence: str) -> TemplateSyntaxError:
        return TemplateSyntaxError(f"{{% {self.tag} %}} got tags={self.tags.token}, {sentence}.")
