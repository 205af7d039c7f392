"""Django's test runner, which writes down how each test came out."""

from __future__ import annotations

import json
import os
import unittest
from pathlib import Path
from typing import Any

from django.test import TestCase
from django.test.runner import DiscoverRunner
from django.test.testcases import TransactionTestCase, _AssertNumQueriesContext

from tests.thirdparty.kit import OUTCOMES, WITH_KIT

#: What is said of a test: "passed", or what went wrong.
outcomes: dict[str, str] = {}
#: Tests that count queries, and found others than they expected.
counted: dict[str, str] = {}
#: What the triggers saw and the log does not tell, by test.
differences: dict[str, list[str]] = {}
#: How many row changes were told, and how many need not be, by a reason of the docs' list.
changed: dict[str, int] = {}


class Result(unittest.TextTestResult):
    current: unittest.TestCase | None = None

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        Result.current = test
        super().startTest(test)

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        outcomes.setdefault(test.id(), "passed")
        super().addSuccess(test)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        outcomes[test.id()] = "skipped"
        super().addSkip(test, reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        outcomes[test.id()] = "expected failure"
        super().addExpectedFailure(test, err)

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        outcomes[test.id()] = "unexpected success"
        super().addUnexpectedSuccess(test)

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        outcomes[test.id()] = self._exc_info_to_string(err, test)
        super().addError(test, err)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        outcomes[test.id()] = self._exc_info_to_string(err, test)
        super().addFailure(test, err)

    def addSubTest(self, test: unittest.TestCase, subtest: Any, err: Any) -> None:  # noqa: N802
        if err is not None:
            outcomes[test.id()] = self._exc_info_to_string(err, test)
        super().addSubTest(test, subtest, err)


class Runner(DiscoverRunner):
    """Used for both runs of a suite."""

    def get_resultclass(self) -> type[unittest.TextTestResult]:
        return Result

    def run_suite(self, suite: Any, **kwargs: Any) -> Any:
        if WITH_KIT in os.environ:
            _tolerate_counts()
            _compare_after_each_test()
        result = super().run_suite(suite, **kwargs)
        told = {
            "outcomes": outcomes,
            "counted": counted,
            "differences": differences,
            "changed": changed,
        }
        Path(os.environ[OUTCOMES]).write_text(json.dumps(told))
        return result


def _tolerate_counts() -> None:
    """A test that counts queries goes on: what comes after its count has to be right as well."""
    original = _AssertNumQueriesContext.__exit__

    def leave(self: Any, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        try:
            original(self, exc_type, exc_value, traceback)
        except AssertionError as error:
            counted[_name_current()] = str(error).partition("\n")[0]

    _AssertNumQueriesContext.__exit__ = leave


def _compare_after_each_test() -> None:
    # Only here is the app of the log installed.
    from tests.thirdparty.comparing import Comparison

    comparison = Comparison()
    tear_down = TransactionTestCase._post_teardown

    def post_teardown(self: TransactionTestCase) -> None:
        try:
            if found := comparison.find_differences(changed):
                differences[self.id()] = found
        finally:
            tear_down(self)
        if not isinstance(self, TestCase):
            # Tables were emptied, and nobody tells of it; others were filled anew. A TestCase
            # is rolled back, and what it has told is with it.
            comparison.restart()

    TransactionTestCase._post_teardown = post_teardown


def _name_current() -> str:
    return Result.current.id() if Result.current is not None else ""
