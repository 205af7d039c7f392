"""One run, and its tally: ``python -m tests.engines ENGINE [DATABASE] [options]``."""

from __future__ import annotations

import argparse
import json
import random
import shlex
import sys
import tempfile
import time
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command
from django.db import connections

from django_signal_kit.tasks.options import read_options
from django_signal_kit.tasks.places import find_place
from tests.engines.engines import ENGINES, FAULTS, Engine
from tests.engines.place import Broker, prepare
from tests.engines.scenario import find
from tests.engines.worker import Worker


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser("python -m tests.engines")
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("database", choices=["sqlite", "postgres"], nargs="?", default="postgres")
    parser.add_argument("--scenario", default="notes")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--units", type=int, default=15, help="units of writes in each round")
    parser.add_argument(
        "--faults", nargs="+", default=list(FAULTS), choices=FAULTS, help="what goes wrong"
    )
    parser.add_argument("--settings", help="other than those of the engine's project")
    parser.add_argument("--worker", type=shlex.split, help="another command, for this Python")
    parser.add_argument("--seed", type=int, default=random.getrandbits(32))
    options = parser.parse_args(arguments)
    package = f"tests.engines.{options.scenario}"
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="signal-kit-engines-"))
        stack.enter_context(find(package, "prepare", nullcontext)(Path(name)))
        engine = ENGINES[options.engine]
        if options.worker:
            engine = replace(engine, worker=tuple(options.worker))
        settings = options.settings or f"tests.engines.projects.{engine.name}"
        place = prepare(engine, settings, options.database, package, Path(name))
        broker = stack.enter_context(place)
        stack.callback(connections.close_all)
        print(json.dumps(run(engine, broker, Path(name), options)))


def run(
    engine: Engine, broker: Broker | None, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    # Models can be imported from here on.
    course = import_module("tests.engines.course")
    scenario = import_module(f"tests.engines.{options.scenario}.scenario").SCENARIO(folder)
    log = folder / "worker.log"
    started = time.monotonic()
    try:
        running = course.Course(
            *(engine, scenario, Worker(engine, log), broker),
            faults=options.faults,
            seed=options.seed,
        )
        tally = running.run(options.rounds, options.units)
    except BaseException:
        if log.exists():
            sys.stderr.write(log.read_text(errors="replace")[-6000:])
        sys.stderr.write(f"\nseed {options.seed}\n")
        raise
    seconds = round(time.monotonic() - started, 1)
    return {
        **asdict(tally),
        "kills": running.kills,
        "place": find_place(read_options(), "default"),
        "seed": options.seed,
        "seconds": seconds,
    }


if __name__ == "__main__":
    main(sys.argv[1:])
