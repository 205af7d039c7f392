"""The settings of the tests, for processes that work in the test's own database and are killed."""

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

DATABASES["default"]["NAME"] = os.environ["SIGNAL_KIT_FAULTS_DATABASE"]

SIGNAL_KIT = {"RECEIVERS": json.loads(os.environ["SIGNAL_KIT_FAULTS_RECEIVERS"])}
