"""How long the tests go on that kill: ``SIGNAL_KIT_FAULTS_SIZE`` times as long as by default."""

import os

SIZE = int(os.environ.get("SIGNAL_KIT_FAULTS_SIZE", "1"))
