"""A file goes if a commit has taken its name from the last row that had it, and only then."""

from __future__ import annotations

import io
import os
import random
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import transaction

from tests.engines.pictures.models import Doomed, Picture
from tests.engines.scenario import ChangedMindError, Scenario, Tally, make_key


class Pictures(Scenario):
    def write(self, chance: random.Random) -> None:
        while True:
            try:
                self._write(chance)
                return
            except ConnectionError:
                # While the storage is down.
                time.sleep(0.02)

    def _write(self, chance: random.Random) -> None:
        picture = Picture(key=make_key(chance))
        upload = ContentFile(b"first", f"{picture.key}-1.txt")
        if chance.random() < 0.25:
            picture.file.save(upload.name, upload)
        else:
            picture.file = upload
            picture.save()
        with suppress(ChangedMindError), transaction.atomic():
            Doomed.objects.create(name=picture.file.name)
            self._change(picture, chance)
            if chance.random() < 1 / 3:
                raise ChangedMindError

    def _change(self, picture: Picture, chance: random.Random) -> None:
        way = chance.random()
        if way < 0.4:
            picture.file.save(f"{picture.key}-2.txt", ContentFile(b"second"))
        elif way < 0.7:
            picture.delete()
        else:
            Picture.objects.filter(pk=picture.pk).update(file="")

    def count(self) -> int:
        return len(self._list_waiting())

    def is_done(self) -> bool:
        return self._list_doomed().isdisjoint(self._list_there())

    def judge(self) -> Tally:
        doomed, there, waiting = self._list_doomed(), self._list_there(), self._list_waiting()
        named = set(Picture.objects.exclude(file="").values_list("file", flat=True))
        gone = doomed & set(waiting) - there
        return Tally(
            committed=len(doomed),
            flushed=len(gone),
            lost=len(doomed - gone) + len(self._list_left(there - doomed, named)),
            repeated=waiting.total() - len(waiting),
            never_committed=len(named - there),
        )

    def _list_left(self, found: set[str], named: set[str]) -> set[str]:
        """What has been uploaded and no row names, as its writer was killed: ``cleanfiles`` knows
        it when it is old enough."""
        for name in found:
            os.utime(self.folder / "media" / name, (1, 1))
        call_command("cleanfiles", "--delete", verbosity=0, stdout=io.StringIO())
        return self._list_there() - named

    def _list_doomed(self) -> set[str]:
        return set(Doomed.objects.values_list("name", flat=True))

    def _list_there(self) -> set[str]:
        return {str(path) for path in self._walk() if path.parts[0] != "quarantine"}

    def _list_waiting(self) -> Counter[str]:
        """Name -> how many files of it wait in quarantine/DAY/, or quarantine/DAY/~2/."""
        places = [path.parts[2:] for path in self._walk() if path.parts[0] == "quarantine"]
        return Counter(
            str(Path(*(parts[1:] if parts[0].startswith("~") else parts))) for parts in places
        )

    def _walk(self) -> list[Path]:
        media = self.folder / "media"
        return [path.relative_to(media) for path in media.rglob("*") if path.is_file()]


SCENARIO = Pictures
