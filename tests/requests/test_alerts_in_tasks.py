"""An alert travels as JSON, and a worker that cannot send it gives its window back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core import mail
from django.core.cache import caches
from django.http import HttpResponse
from django.test import Client
from django.urls import path

from django_signal_kit.receivers import ExceptionAlert
from django_signal_kit.requests.exception_alert import Alert
from tests.mail.mailers import use_mailer
from tests.requests.test_webhook import Hook
from tests.serving import serve
from tests.tasks.queues import BROKER, DUMMY, IMMEDIATE, LATER, Broker, get_messages, work

pytestmark = pytest.mark.django_db(transaction=True)

OPS = ["ops@shop.example"]
SHARED = {"to": OPS, "flush_on": "task", "cache": "second"}
DOWN = {"host": "127.0.0.1", "port": 1}


def view(request: Any, number: int) -> HttpResponse:
    raise ValueError(f"number {number}\x00\ud800 token={request.POST.get('token')}")


urlpatterns = [path("<int:number>/", view)]


class Odd(ExceptionAlert):
    """Its payload is not JSON."""

    def get_payload(self, alert: Alert) -> dict[str, Any]:
        payload: dict[Any, Any] = {"who": alert.exception, "size": float("inf"), (1, 2): b"x"}
        payload["self"] = payload
        return payload


class Answering(ExceptionAlert):
    """Knows in the worker whose request it was."""

    told: list[Any] = []

    def flush(self, items: list[Any]) -> None:
        from django_signal_kit import get_context

        type(self).told.append(get_context().get("request_id"))


@pytest.fixture(autouse=True)
def _project(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.TASKS = BROKER
    settings.SIGNAL_KIT = {}
    caches["second"].clear()
    use_mailer(settings, "locmem")
    Broker.messages.clear()
    Broker.is_down = False


def get(url: str = "/1/", **kwargs: Any) -> int:
    return Client(raise_request_exception=False).post(url, **kwargs).status_code


def wire_shared(wire: Any, cls: type = ExceptionAlert, **options: Any) -> Any:
    """Without an outbox, so that what is in the queue is all there is."""
    tasks = {"OUTBOX": False, "ATTEMPTS": 3}
    return wire((cls, {**SHARED, **options}), TASKS=tasks)


def test_a_worker_sends_the_alert(wire: Any) -> None:
    wire_shared(wire)
    assert [get(), get()] == [500, 500]
    assert mail.outbox == []
    assert len(get_messages()) == 1
    assert work() == []
    (message,) = mail.outbox
    assert message.to == OPS
    assert "ValueError: number 1" in str(message.body)


def test_no_secret_is_in_the_message(wire: Any) -> None:
    options = {"channels": ["mail", "webhook"], "webhook_url": "https://hooks.example/geheim"}
    wire_shared(wire, **options)
    get(data={"token": "geheim-1"}, headers={"authorization": "Bearer geheim-2"})
    (message,) = get_messages()
    assert "geheim" not in json.dumps(message)
    assert [*message["items"][0]["payload"]["request"]["POST"]] == ["token"]
    # What no column of JSON would keep.
    assert not {"\x00", "\ud800"} & set(json.dumps(message, ensure_ascii=False))
    assert "\\u0000" not in json.dumps(message)


def test_a_payload_that_is_no_json_is_made_some(wire: Any) -> None:
    Hook.got, Hook.status = [], 204
    with serve(Hook) as address:
        options = {"channels": ["webhook"], "webhook_url": address, "allow_private": True}
        wire_shared(wire, Odd, **options)
        get()
        assert work() == []
    (got,) = Hook.got
    assert got["body"]["who"].startswith("number 1")
    assert (got["body"]["size"], got["body"]["self"]) == ("inf", "<dict…>")


def test_a_worker_knows_whose_request_it_was(wire: Any) -> None:
    Answering.told.clear()
    wire_shared(wire, Answering)
    get(headers={"x-request-id": "abcdefgh"})
    assert work() == []
    assert Answering.told == ["abcdefgh"]


def test_a_task_that_runs_twice_tells_twice_and_breaks_nothing(wire: Any) -> None:
    wire_shared(wire)
    get()
    waiting = Broker.messages[:]
    assert work() == []
    Broker.messages[:] = waiting
    assert work() == []
    assert len(mail.outbox) == 2
    get()
    assert get_messages() == []


# A server that is down


def test_while_a_task_is_tried_again_others_of_its_kind_are_counted(
    wire: Any, settings: Any
) -> None:
    settings.TASKS = LATER
    wire_shared(wire)
    use_mailer(settings, "smtp", **DOWN)
    get()
    assert work() == []
    # It waits for its second attempt.
    get()
    assert len(get_messages()) == 1
    use_mailer(settings, "locmem")
    mail.outbox = []
    assert work() == []
    assert len(mail.outbox) == 1
    # The window is still that of the alert.
    get()
    assert get_messages() == []


def test_a_task_that_is_given_up_gives_the_window_back(
    wire: Any, settings: Any, failures: Any
) -> None:
    settings.TASKS = LATER
    wire_shared(wire)
    use_mailer(settings, "smtp", **DOWN)
    get()
    assert work() == []
    get()
    assert work() == []
    assert len(work()) == 1
    # Told once, at the end.
    assert [len(failure["items"]) for failure in failures] == [1]
    use_mailer(settings, "locmem")
    mail.outbox = []
    get()
    assert work() == []
    assert "2 more of this kind" in str(mail.outbox[0].body)


def test_one_of_two_channels_is_enough(wire: Any, settings: Any) -> None:
    settings.TASKS = LATER
    wire_shared(wire, channels=["mail", "log"])
    use_mailer(settings, "smtp", **DOWN)
    get()
    assert work() == []
    assert get_messages() == []
    get()
    assert get_messages() == []


def test_a_queue_that_is_down_is_done_without(wire: Any) -> None:
    wire_shared(wire)
    Broker.is_down = True
    assert get() == 500
    assert len(mail.outbox) == 1
    Broker.is_down = False
    get()
    assert (len(mail.outbox), get_messages()) == (1, [])


def test_a_backend_that_runs_it_at_once_gives_the_window_of_this_process_back(
    wire: Any, settings: Any
) -> None:
    settings.TASKS = IMMEDIATE
    wire_shared(wire, cache="")
    use_mailer(settings, "smtp", **DOWN)
    get()
    use_mailer(settings, "locmem")
    mail.outbox = []
    for _ in range(3):
        get()
    assert len(mail.outbox) == 1


def test_the_windows_of_another_process_are_its_own(wire: Any, settings: Any) -> None:
    settings.TASKS = LATER
    wire_shared(wire, cache="")
    get()
    # A worker has windows of its own.
    worker = wire_shared(wire, cache="")
    use_mailer(settings, "smtp", **DOWN)
    for _ in range(3):
        work()
    assert get_messages() == []
    assert (len(worker._windows), worker._windows._failures) == (0, 0)


def test_windows_that_no_worker_can_give_back_are_warned_of(wire: Any, settings: Any) -> None:
    def get_ids(**options: Any) -> list[str | None]:
        receiver = wire((ExceptionAlert, {"to": OPS, **options}))
        return [warning.id for warning in receiver.get_warnings()]

    assert get_ids(flush_on="task") == ["signal_kit.W023"]
    assert get_ids(flush_on="task", cache="second") == []
    assert get_ids() == []
    for tasks in (IMMEDIATE, DUMMY):
        settings.TASKS = tasks
        assert get_ids(flush_on="task") == []
