"""`python -m tests.simulation` is `python -m tests.simulation.run`."""

from __future__ import annotations

import sys

from tests.simulation.run import main

sys.exit(main())
