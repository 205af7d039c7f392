"""A method of the project is called with what the signal sends, or with what the method takes that
it overrides: what cannot take that is told at start-up, not by the first write."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping, Sequence
from inspect import Parameter
from types import FunctionType
from typing import Any

from django_signal_kit.exceptions import Misconfigured, is_of_kit, tell_class
from django_signal_kit.receiver import Receiver
from django_signal_kit.wiring.catalog import ARGUMENTS
from django_signal_kit.wiring.names import is_generator, is_method, list_own, say_parameters
from django_signal_kit.wiring.near import find_near

#: The hooks that may be async.
AWAITED = frozenset({"flush"})

_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
# What two functions have to have in common, and what a hook may not be.
_KINDS = inspect.CO_VARKEYWORDS | inspect.CO_VARARGS
_ASYNC = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
#: The hooks of which no generator is an answer.
_ANSWERING = ("flush", "should_")
_SELF = object()
_SELF_PARAMETER = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)


class _Method:
    """A method and its parameters, those after ``self``."""

    def __init__(self, path: str, function: Any) -> None:
        self.path = path
        self.name = path.rpartition(".")[2]
        #: A bound method is looked at with its first parameter, which may be missing.
        self.function = getattr(function, "__func__", function)
        try:
            self.signature = inspect.signature(self.function)
        except (TypeError, ValueError):
            # Nobody can say what it takes.
            self.signature = inspect.signature(lambda *args, **kwargs: None)
        self.start = () if self.function is function else (_SELF,)
        self.all = [*self.signature.parameters.values()]
        self.parameters = self.all[len(self.start) :]
        self.is_async = inspect.iscoroutinefunction(self.function) or inspect.isasyncgenfunction(
            self.function
        )

    def bind(self, args: Iterable[Any], kwargs: Mapping[str, Any]) -> str | None:
        """Why such a call fails, as the end of a sentence; None if it does not."""
        try:
            self.signature.bind(*self.start, *args, **kwargs)
        except TypeError as error:
            return f"that fails: {error}"
        return None

    @property
    def rest(self) -> str | None:
        """``"kwargs"``, if it has ``**kwargs``."""
        return next((each.name for each in self.all if each.kind is Parameter.VAR_KEYWORD), None)


def check_calls(receiver: Receiver, signal_names: Iterable[str]) -> None:
    """Raise Misconfigured for the first method that cannot be called as it will be."""
    cls = type(receiver)
    declared = [own for own in list_own(cls) if is_method(own.value)]
    if not declared and is_of_kit(cls.get_methods):
        return
    heard = receiver.get_methods(signal_names)
    functions = [getattr(method, "__func__", method) for method in heard.values()]
    for name, method in heard.items():
        if is_generator(method) and not is_of_kit(method):
            owner = next((own.owner for own in declared if own.name == name), cls)
            raise _refuse_generator(_Method(f"{tell_class(owner)}.{name}", method))
        if not is_of_kit(method) and not _is_plainly_named(method, name):
            path = next((own.owner for own in declared if own.name == name), cls)
            known = ("signal", "sender", *ARGUMENTS[name]) if name in ARGUMENTS else None
            _check_by_name(_Method(f"{tell_class(path)}.{name}", method), known)
    for own in declared:
        if own.base is None or own.name in signal_names:
            continue
        if own.name.startswith(_ANSWERING) and is_generator(own.value):
            written = f"{tell_class(own.owner)}.{own.name}"
            raise _refuse_generator(_Method(written, _bind(own.value, receiver)))
        if not _is_plainly_alike(own.value, vars(own.base)[own.name]):
            hook = _Method(f"{tell_class(own.owner)}.{own.name}", _bind(own.value, receiver))
            base = _Method(own.name, _bind(vars(own.base)[own.name], receiver))
            if hook.is_async and not (
                own.name in AWAITED or base.is_async or hook.function in functions
            ):
                raise _refuse_async(hook)
            _check_hook(hook, base, is_of_kit=is_of_kit(own.base))


def check_init(cls: type[Receiver], options: Collection[str]) -> None:
    """Raise Misconfigured if a class of the project does not take the options that are set."""
    if is_of_kit(cls.__init__):
        return
    method = _Method(f"{tell_class(cls)}.__init__", cls.__init__)
    why = method.bind((_SELF,), dict.fromkeys(options))
    if why is not None:
        given = ", ".join(options) or "nothing"
        raise Misconfigured(
            "E043",
            f"{method.path}() is called by name, with the options that are set, {given}, and "
            f"{why}.",
            "Write def __init__(self, **options), and call super().__init__(**options) in it.",
        )


def _is_plainly_named(method: Any, name: str) -> bool:
    """Is it a function that takes by name what the signal sends, as most are? Looking at its code
    costs a tenth of what its signature costs."""
    function = getattr(method, "__func__", None)
    if type(function) is not FunctionType or hasattr(function, "__wrapped__"):
        return False
    code, known = function.__code__, ARGUMENTS.get(name, ())
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    takes_any_name = code.co_flags & inspect.CO_VARKEYWORDS and not code.co_posonlyargcount
    is_known = all(each in known or each == "sender" for each in names[1:])
    return bool(takes_any_name and is_known and names[:1] == ("self",))


def _is_plainly_alike(value: Any, base: Any) -> bool:
    """Are both functions, not async, that take the same by the same names?"""
    functions = (value, base)
    if any(type(each) is not FunctionType or hasattr(each, "__wrapped__") for each in functions):
        return False
    one, other = (
        (
            code.co_varnames[: code.co_argcount + code.co_kwonlyargcount],
            (code.co_argcount, code.co_posonlyargcount, code.co_flags & _KINDS),
            (len(each.__defaults__ or ()), set(each.__kwdefaults__ or ())),
        )
        for each in functions
        for code in (each.__code__,)
    )
    return one == other and not value.__code__.co_flags & _ASYNC


def _refuse_async(method: _Method) -> Misconfigured:
    return Misconfigured(
        "E044",
        f"{method.path}() is async, and whoever calls it does not await it: a coroutine would be "
        f"taken for its answer.",
        f"Write def {method.name}{say_parameters(method.all)}, without async. What is named after "
        f"a signal may be async, and so may flush().",
    )


def _refuse_generator(method: _Method) -> Misconfigured:
    return Misconfigured(
        "E044",
        f"{method.path}() has a yield in it: whoever calls it gets a generator, and nothing of it "
        f"is run.",
        f"Write def {method.name}{say_parameters(method.all)} without yield.",
    )


def _check_by_name(method: _Method, known: Sequence[str] | None) -> None:
    """What is called as a signal calls, with what is ``known``: None if nobody knows it."""
    why = _find_unfit(method, known)
    if why is None and known is not None:
        why = method.bind((), dict.fromkeys(known))
    if why is not None:
        given = "what the signal sends" if known is None else ", ".join(known)
        raise Misconfigured(
            "E043",
            f"{method.path}() is called by name, with {given}, and {why}.",
            f"Write {_suggest(method, known)}.",
        )


def _find_unfit(method: _Method, known: Sequence[str] | None) -> str | None:
    """Why it does not take what is given by name, as the end of a sentence."""
    if method.rest is None:
        return "takes no **kwargs"
    if method.start and known is not None and method.all[0].name in known:
        return f"has {method.all[0].name!r} in the place of 'self'"
    names = {each.name for each in method.all}
    for each in method.parameters:
        is_wanted = each.default is Parameter.empty
        if each.kind is Parameter.POSITIONAL_ONLY and is_wanted:
            return f"takes {each.name!r} by position only"
        if known is None or each.kind not in _BY_NAME or each.name in known:
            continue
        # One with a default would always have it, which is not what is meant by a slip of the pen.
        if is_wanted or find_near(each.name, known) not in (None, *names):
            return f"asks for {each.name!r}, which is none of them"
    return None


def _suggest(method: _Method, known: Sequence[str] | None) -> str:
    """How to write it: with those of its parameters that there are, or the ones that are meant."""
    names = [
        each.name if known is None or each.name in known else find_near(each.name, known)
        for each in (method.all if method.all[:1] and not _is_self(method) else method.parameters)
        if each.kind in (*_BY_POSITION, Parameter.KEYWORD_ONLY)
    ]
    listed = "".join(f"{name}, " for name in dict.fromkeys(names) if name)
    return f"{'async ' * method.is_async}def {method.name}(self, {listed}**kwargs)"


def _is_self(method: _Method) -> bool:
    return bool(method.start) and method.all[0].name in ("self", "cls")


def _check_hook(method: _Method, base: _Method, *, is_of_kit: bool) -> None:
    """``method`` stands in the place of ``base``."""
    if base.rest == "kwargs" and is_of_kit:
        # By this name the kit says that it calls as a signal does.
        _check_by_name(method, [each.name for each in base.parameters if each.kind in _BY_NAME])
        return
    positional = [each for each in base.parameters if each.kind in _BY_POSITION]
    keywords = [each for each in base.parameters if each.kind is Parameter.KEYWORD_ONLY]
    why = _try(method, positional, keywords)
    if why is not None and not is_of_kit and not _try(method, [], [*positional, *keywords]):
        # Whether a class of the project calls it by position or by name only that class knows.
        why = None
    if why is None and base.rest is not None and method.rest is None:
        why = f"takes no **{base.rest}"
    if why is not None:
        call = say_parameters(base.parameters)
        raise Misconfigured(
            "E043",
            f"{method.path}() is called as {method.name}{call}, and {why}.",
            f"Write def {method.name}{say_parameters([_SELF_PARAMETER, *base.parameters])}.",
        )


def _try(
    method: _Method, positional: Sequence[Parameter], keywords: Sequence[Parameter]
) -> str | None:
    """Why a call with all of these, or without those that have a default, fails."""
    wanted = [each for each in positional if each.default is Parameter.empty]
    named = {each.name: None for each in keywords}
    needed = {each.name: None for each in keywords if each.default is Parameter.empty}
    return method.bind(positional, named) or method.bind(wanted, needed)


def _bind(value: Any, receiver: Receiver) -> Any:
    """``value``, of the namespace of a class, as the receiver has it."""
    get = getattr(type(value), "__get__", None)
    return value if get is None else get(value, receiver, type(receiver))
