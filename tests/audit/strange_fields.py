"""Fields of somebody else, each with values of its own making."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from django.db import models


class Point:
    """Has no ``==``."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = int(x), int(y)

    def __str__(self) -> str:
        return f"{self.x},{self.y}"


class PointField(models.CharField):
    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return self.to_python(value)

    def to_python(self, value: Any) -> Any:
        return value if value is None or isinstance(value, Point) else Point(*value.split(","))

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else str(value)


class Answers(list):
    def __bool__(self) -> bool:
        raise ValueError("neither true nor false")


class Vector:
    """Compares number by number, and can be read but by its column."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = list(numbers)

    def __eq__(self, other: Any) -> Any:
        return Answers([other])

    __hash__ = None  # type: ignore[assignment]


class VectorField(models.TextField):
    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else Vector(*json.loads(value))

    def to_python(self, value: Any) -> Any:
        return value

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else json.dumps(value.numbers)


class Moody:
    """Raises whatever it is asked."""

    def __init__(self, held: str) -> None:
        self.held = held

    def __eq__(self, other: Any) -> bool:
        raise RuntimeError("not now")

    def __str__(self) -> str:
        raise RuntimeError("not now")

    __hash__ = None  # type: ignore[assignment]
    __repr__ = __str__


class MoodyField(models.CharField):
    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else Moody(value)

    def to_python(self, value: Any) -> Any:
        return value if value is None or isinstance(value, Moody) else Moody(value)

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else value.held


class Loud(str):
    """Compares without case, and so does not see what has changed."""

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, str) and self.casefold() == str(other).casefold()

    def __ne__(self, other: Any) -> bool:
        return not self == other

    __hash__ = str.__hash__


class LoudField(models.CharField):
    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else Loud(value)


class SealedField(models.TextField):
    """Writes the same value otherwise each time."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else value[8:][::-1]

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        value = super().get_db_prep_save(value, connection)
        return None if value is None else os.urandom(4).hex() + value[::-1]


class Sealed:
    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Sealed) and self.text == other.text

    __hash__ = None  # type: ignore[assignment]


class SealedObjectField(models.TextField):
    """The same with an object, sealed in ``get_prep_value()``."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else Sealed(value[8:])

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else os.urandom(4).hex() + value.text


@dataclasses.dataclass
class Size:
    width: int


class SizeField(models.JSONField):
    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        value = super().from_db_value(value, expression, connection)
        return value if value is None else Size(**value)

    def get_prep_value(self, value: Any) -> Any:
        return dataclasses.asdict(value) if isinstance(value, Size) else value

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return super().get_db_prep_value(self.get_prep_value(value), connection, prepared)

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        return super().get_db_prep_save(self.get_prep_value(value), connection)


class SizeEncoder(json.JSONEncoder):
    def default(self, value: Any) -> Any:
        return dataclasses.asdict(value) if isinstance(value, Size) else super().default(value)


class SizeDecoder(json.JSONDecoder):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "object_hook": self.make})

    @staticmethod
    def make(found: dict[str, Any]) -> Any:
        return Size(**found) if list(found) == ["width"] else found


class WordsField(models.CharField):
    """A set of words."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else set(value.split())

    def to_python(self, value: Any) -> Any:
        return value.split() if isinstance(value, str) else value and set(value)

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else " ".join(sorted(value))


class EmptyField(models.CharField):
    """Reads NULL as "", and writes "" as NULL."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return "" if value is None else value

    def get_prep_value(self, value: Any) -> Any:
        return super().get_prep_value(value) or None


class NeverNullField(models.CharField):
    """Writes "" for None."""

    def get_prep_value(self, value: Any) -> Any:
        return super().get_prep_value(value) or ""


class Guard:
    """Takes the value that is loaded, and no other after it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: Any) -> Any:
        return self if instance is None else instance.__dict__[self.name]

    def __set__(self, instance: Any, value: Any) -> None:
        if self.name in instance.__dict__:
            raise AttributeError(f"{self.name} is protected")
        instance.__dict__[self.name] = value


class StateField(models.CharField):
    def contribute_to_class(self, cls: Any, name: str, **options: Any) -> None:
        super().contribute_to_class(cls, name, **options)
        setattr(cls, name, Guard(name))


class Capitals:
    """Gives another value than it keeps."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: Any) -> Any:
        return self if instance is None else instance.__dict__[self.name].upper()

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.name] = value


class CapitalsField(models.CharField):
    def contribute_to_class(self, cls: Any, name: str, **options: Any) -> None:
        super().contribute_to_class(cls, name, **options)
        setattr(cls, name, Capitals(name))


class Hidden:
    """Keeps its value where nobody looks."""

    def __init__(self, name: str) -> None:
        self.name = f"_hidden_{name}"

    def __get__(self, instance: Any, owner: Any) -> Any:
        return self if instance is None else instance.__dict__.get(self.name)

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.name] = value


class HiddenField(models.CharField):
    def contribute_to_class(self, cls: Any, name: str, **options: Any) -> None:
        super().contribute_to_class(cls, name, **options)
        setattr(cls, name, Hidden(name))


class StampField(models.CharField):
    """Writes something else than the instance holds, and does not tell it."""

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        return getattr(model_instance, self.attname).strip()


class UpperField(models.CharField):
    """Writes capitals, by a field method that gets the connection."""

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        value = super().get_db_prep_save(value, connection)
        return value.upper() if isinstance(value, str) else value


class PlainNumberField(models.Field):
    """No subclass of a field that has a column."""

    def db_type(self, connection: Any) -> str:
        return "integer"

    def to_python(self, value: Any) -> Any:
        return value if value is None else int(value)
