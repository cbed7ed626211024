"""``python -m fingerd.plans``."""

import sys

from fingerd.plans.cli import main

sys.exit(main())
