"""``python -m fingerd``."""

import sys

from fingerd.daemon.cli import main

sys.exit(main())
