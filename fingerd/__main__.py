"""``python -m fingerd``."""

import sys

from fingerd.cli import main

sys.exit(main())
