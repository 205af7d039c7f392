"""Check what was built, and lay out the tests where only the installed package can be found.

Run by ``tox run -e package`` with three folders: the checkout, the built distributions, and an
empty one, which gets what the source distribution holds, less the package itself.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tarfile
import zipfile
from pathlib import Path

PACKAGE = "django_signal_kit"
SDIST_HOLDS = ["tests/settings.py", "docs/conf.py", "example_project/manage.py", "tox.ini"]


def main(checkout: Path, built: Path, elsewhere: Path) -> None:
    (wheel,) = built.glob("*.whl")
    (sdist,) = built.glob("*.tar.gz")
    # The installed one was built straight from the checkout, the other by way of the sdist.
    for path in (Path(os.environ["TOX_PACKAGE"]), wheel):
        check_wheel(path, checkout)
    unpack(sdist, elsewhere)
    check_import(checkout)


def check_wheel(wheel: Path, checkout: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {
        path.relative_to(checkout).as_posix()
        for path in (checkout / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    complain("the wheel lacks", wanted - held)
    complain("the wheel has, and the checkout has not,", held - wanted)
    if f"{PACKAGE}/py.typed" not in held:
        sys.exit("The wheel has no py.typed: type checkers would ignore its annotations.")
    if not any(name.startswith(f"{PACKAGE}/templates/") for name in held):
        sys.exit("The wheel has no templates.")


def unpack(sdist: Path, elsewhere: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
        for member in members:
            _, _, member.name = member.name.partition("/")
        kept = [m for m in members if m.name and not m.name.startswith(f"{PACKAGE}/")]
        archive.extractall(elsewhere, kept, filter="data")
    complain(
        "the source distribution lacks",
        {name for name in SDIST_HOLDS if not (elsewhere / name).exists()},
    )


def check_import(checkout: Path) -> None:
    package = __import__(PACKAGE)
    found = Path(package.__file__).resolve()
    if not found.is_relative_to(sys.prefix):
        sys.exit(f"{PACKAGE} is imported from {found}, not from the installed wheel.")
    version = importlib.metadata.version("django-signal-kit")
    if package.__version__ != version:
        sys.exit(
            f"{PACKAGE}.__version__ is {package.__version__!r}, pyproject.toml says {version!r}. "
            "Change both."
        )


def complain(what: str, names: set[str]) -> None:
    if names:
        sys.exit(f"{what[0].upper()}{what[1:]} {', '.join(sorted(names))}.")


if __name__ == "__main__":
    main(*(Path(argument).resolve() for argument in sys.argv[1:]))
