"""A process that measures one package: it does a round when it is told to, and says how it went.

Reads ``{"operation": name, "inspect": bool}`` from its standard input, a line each, and answers in
JSON as well. An inspection counts queries and compares what the log tells with what happened; a
round is timed and does neither.
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import sys
from statistics import mean
from time import perf_counter_ns
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.benchmarks.peers.settings"

import django
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext, setup_databases, teardown_databases

from tests.audit.proxy import DEFAULT_PORTS, through_proxy
from tests.benchmarks.peers.packages import PACKAGES, UNTOLD, Package, Story, empty

_TRANSACTION = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK", "START")


def main() -> None:
    # What a package prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    django.setup()
    config = setup_databases(verbosity=0, interactive=False, serialized_aliases=())
    try:
        package = PACKAGES[settings.PEER]
        make_tables()
        package.set_up()
        make_surroundings()
        answer(answers, {"version": get_version(package), "operations": package.operations})
        for line in sys.stdin:
            command = json.loads(line)
            do = inspect if command["inspect"] else measure
            answer(answers, do(package, command["operation"]))
    finally:
        teardown_databases(config, verbosity=0)


def answer(answers: Any, value: Any) -> None:
    answers.write(json.dumps(value) + "\n")


def get_version(package: Package) -> str:
    try:
        return importlib.metadata.version(package.distribution) if package.distribution else ""
    except importlib.metadata.PackageNotFoundError:
        return ""


def make_tables() -> None:
    with connection.schema_editor() as editor:
        for model in apps.get_app_config("peers").get_models():
            if not model._meta.proxy:
                editor.create_model(model)


def make_surroundings() -> None:
    apps.get_model("peers.Category").objects.create(name="Category")
    tag = apps.get_model("peers.Tag")
    tag.objects.bulk_create(tag(name=f"tag {number}") for number in range(10))


def prepare(package: Package, name: str, times: int | None = None) -> tuple[Any, list[Any]]:
    """New rows and an empty log."""
    from tests.benchmarks.peers.operations import OPERATIONS

    operation = OPERATIONS[name]
    item = apps.get_model("peers.Item")
    empty(item.tags.through)
    empty(item)
    given = operation.prepare(times or operation.times)
    package.forget()
    return operation, given


def measure(package: Package, name: str) -> dict[str, float]:
    operation, given = prepare(package, name)
    act = operation.act
    gc.collect()
    gc.disable()
    times: list[int] = []
    for each in given:
        start = perf_counter_ns()
        act(package, each)
        times.append(perf_counter_ns() - start)
    gc.enable()
    return {"ms": mean(times) / 1_000_000, "quickest": min(times) / 1_000_000}


def inspect(package: Package, name: str) -> dict[str, Any]:
    operation, [given] = prepare(package, name, 1)
    with CaptureQueriesContext(connection) as captured:
        operation.act(package, given)
    verbs = [query["sql"].split(None, 1)[0].upper() for query in captured]
    count, story = package.get_story()
    expected = operation.tell(given)
    return {
        "queries": sum(verb not in _TRANSACTION for verb in verbs),
        "transaction_statements": sum(verb in _TRANSACTION for verb in verbs),
        "round_trips": count_round_trips(package, name),
        "entries": count,
        "verdict": judge(count, story, expected) if package.log else "",
    }


def count_round_trips(package: Package, name: str) -> int | None:
    """How often the operation goes to the server and back; None where there is no server."""
    if connection.vendor not in DEFAULT_PORTS:
        return None
    with through_proxy(connection) as proxy:
        # What is looked up for the first time on this connection is none of the operation.
        operation, [first, given] = prepare(package, name, 2)
        operation.act(package, first)
        before = proxy.round_trips
        operation.act(package, given)
        return proxy.round_trips - before


def judge(count: int, story: Story, expected: Story) -> str:
    """ "" if the log tells what happened, else what is wrong with it in a few words."""
    if not expected:
        return "" if not count else f"writes {'a row' if count == 1 else f'{count} rows'}"
    if not count:
        return "none"
    if story.keys() != expected.keys():
        return f"tells of {len(story.keys() & expected.keys())} of {len(expected)} rows"
    for key, fields in expected.items():
        for field, value in fields.items():
            if not is_told(story[key].get(field), value):
                return f"wrong: {field} is {story[key].get(field)}, not {value}"
    return ""


def is_told(told: Any, happened: Any) -> bool:
    if not isinstance(happened, tuple):
        return bool(told == happened)
    return told is not None and told[0] in (happened[0], UNTOLD) and told[1] == happened[1]


if __name__ == "__main__":
    main()
