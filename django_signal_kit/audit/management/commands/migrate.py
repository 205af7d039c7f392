"""Django's ``migrate``, whose ``--plan`` tells of triggers, and whose checks send nobody to it.

Django sends no signal before it shows a plan. An app further down in INSTALLED_APPS may have a
``migrate`` of its own, which this one would hide: so it is what this one builds on.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.management import find_commands, load_command_class
from django.core.management.commands import migrate

from django_signal_kit.audit.capture.planning import tell_plan
from django_signal_kit.writes.migrating import about_to_be_mended


def _find_next() -> type[Any]:
    """The class of the command that there would be without this one."""
    configs = list(apps.get_app_configs())
    own = next(i for i, each in enumerate(configs) if __name__.startswith(f"{each.name}.manag"))
    for config in configs[own + 1 :]:
        if "migrate" in find_commands(os.path.join(config.path, "management")):
            return type(load_command_class(config.name, "migrate"))
    return migrate.Command


if TYPE_CHECKING:
    from django.core.management.commands.migrate import Command as Next
else:
    Next = _find_next()


#: What ``migrate`` mends, the whole of it or that of one app as well.
_MENDED_BY_ALL = frozenset({"W012", "W020"})
_MENDED_BY_EACH = frozenset({"W031"})


class Command(Next):
    mended: frozenset[str] = frozenset()

    def get_check_kwargs(self, options: dict[str, Any]) -> Any:
        if not (options.get("plan") or options.get("check_unapplied")):
            self.mended = _MENDED_BY_EACH
            if not options.get("app_label"):
                self.mended |= _MENDED_BY_ALL
        return super().get_check_kwargs(options)

    def check(self, *args: Any, **kwargs: Any) -> None:
        token = about_to_be_mended.set(self.mended)
        try:
            super().check(*args, **kwargs)
        finally:
            about_to_be_mended.reset(token)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            super().handle(*args, **options)
        except SystemExit:
            # That of --check, where there is something to migrate.
            self.tell_plan(options)
            raise
        self.tell_plan(options)

    def tell_plan(self, options: dict[str, Any]) -> None:
        if not options.get("plan"):
            return
        told = list(
            tell_plan(
                options["database"],
                options.get("app_label") or "",
                options.get("migration_name") or "",
                run_syncdb=bool(options.get("run_syncdb")),
            )
        )
        if told:
            self.stdout.write("Triggers of the audit log:", self.style.MIGRATE_LABEL)
        for verb, name, table in told:
            self.stdout.write(f"    {verb.capitalize()} {name} on {table}")
