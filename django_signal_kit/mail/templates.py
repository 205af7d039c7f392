"""Are the templates of a mail there, and can they be read?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from django.template import TemplateDoesNotExist, TemplateSyntaxError, engines
from django.template.backends.base import BaseEngine
from django.template.backends.django import Template
from django.template.loader import get_template
from django.template.loader_tags import ExtendsNode, IncludeNode
from django.template.utils import EngineHandler, get_app_template_dirs

from django_signal_kit.exceptions import Misconfigured, did_you_mean

#: Name of a template of the kit -> the name that it had before, by which a project may have
#: written its own.
FORMER = {
    "signal_kit/welcome/subject.txt": "signal_kit/welcome_subject.txt",
    "signal_kit/welcome/body.txt": "signal_kit/welcome.txt",
    "signal_kit/welcome/body.html": "signal_kit/welcome.html",
}

_NAMES = "_signal_kit_names"
_OWN = Path(__file__).parents[1] / "templates"


def find_name(name: str) -> str:
    """``name``, or the former one if the project has a template of that and not of this."""
    former = FORMER.get(name)
    if former is None:
        return name
    # Where the engine is, which keeps what it has read, too.
    known: dict[str, str] = next((vars(each).setdefault(_NAMES, {}) for each in engines.all()), {})
    if name not in known:
        known[name] = former if _is_own(name) and not _is_own(former) else name
    return known[name]


def list_former(names: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(option, former name, name) of the templates that have the former one."""
    present = {former: name for name, former in FORMER.items()}
    for option, name in names.items():
        found = find_name(name)
        if found in present:
            yield option, found, present[found]


def _is_own(name: str) -> bool:
    """Is the template of this name the kit's, or none at all?"""
    try:
        origin = getattr(get_template(name), "origin", None)
    except Exception:
        return True
    path = getattr(origin, "name", None)
    return isinstance(path, str) and Path(path).is_relative_to(_OWN)


def check_templates(receiver: str, names: Mapping[str, str]) -> None:
    """Raise Misconfigured if there is no template of a name that an option gives (``names``:
    option -> name), nor one that it extends or includes by name, or if one of them cannot be
    parsed."""
    # Django's own engines may be of yesterday in a test, and in ready() of today in a project:
    # other apps have not had their turn.
    clear_cache: Any = get_app_template_dirs
    clear_cache.cache_clear()
    try:
        found_engines = EngineHandler().all()
    except Exception:
        # Django says what is wrong with TEMPLATES, to whoever needs one first.
        return
    for option, name in names.items():
        what, needed, done = f"The option {option!r} of {receiver} is {name!r}", [name], {name}
        while needed:
            current = needed.pop()
            more = "" if current == name else f", which needs {current!r}"
            found = set(list_needed(load(found_engines, current, what + more))) - done
            needed += sorted(found)
            done |= found


def load(engines: Iterable[BaseEngine], name: str, what: str) -> Any:
    """As ``django.template.loader.get_template()`` does, by these engines. Raises Misconfigured;
    ``what`` begins its sentence."""
    for engine in engines:
        try:
            return engine.get_template(name)
        except (TemplateDoesNotExist, IsADirectoryError):
            # Django 5.2 raises the second for a folder, and so for an empty name.
            continue
        except (TemplateSyntaxError, UnicodeDecodeError) as error:
            # After this there may be a long list, over many lines.
            reason, _, _ = " ".join(str(error).split()).partition(" Must be one of:")
            raise Misconfigured(
                "E048",
                f"{what}, which cannot be parsed: {reason.rstrip('.')}.",
                "Correct the template.",
            ) from error
    raise Misconfigured(
        "E048",
        f"{what}, and there is no such template.",
        did_you_mean(
            name,
            list_beside(engines, name),
            "Templates are looked for where TEMPLATES says: in its DIRS, and in the templates "
            "folders of apps if APP_DIRS is True.",
        ),
    )


def list_needed(template: Any) -> Iterator[str]:
    """The names of the templates that one of Django's extends or includes, where it names them."""
    if not isinstance(template, Template):
        return
    kinds: Any = (ExtendsNode, IncludeNode)
    nodes: list[Any] = template.template.nodelist.get_nodes_by_type(kinds)
    for node in nodes:
        given: Any = node.parent_name if isinstance(node, ExtendsNode) else node.template
        if isinstance(given.var, str) and not given.filters:
            # A plain string: str() of a safe one is that itself, which is no part of a path.
            yield given.var[:]


def list_beside(engines: Iterable[BaseEngine], name: str) -> Iterator[str]:
    """The templates that are in the folder in which ``name`` is looked for."""
    folder = Path(name).parent
    for engine in engines:
        for directory in engine.template_dirs:
            there = Path(directory) / folder
            if there.is_dir():
                yield from ((folder / path.name).as_posix() for path in there.iterdir())
