"""RQ: a class of jobs that take the context of their sender along."""

from __future__ import annotations

from typing import Any

from rq.job import Job

from django_signal_kit.tasks.context import pack, unpack

#: The key in the ``meta`` of a job.
KEY = "signal_kit_context"


class ContextJob(Job):
    """While such a job runs, ``get_context()`` says who has sent it, in which request, and why.

    The queue and the worker have to be told of the class: ``Queue(job_class=ContextJob)`` and
    ``rq worker --job-class django_signal_kit.contrib.rq.ContextJob``.
    """

    @classmethod
    def create(cls, *args: Any, **kwargs: Any) -> ContextJob:
        job: ContextJob = super().create(*args, **kwargs)
        packed = pack()
        if packed is not None:
            job.meta[KEY] = packed
        return job

    def perform(self) -> Any:
        with unpack(self.meta.get(KEY)):
            return super().perform()
