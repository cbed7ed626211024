"""``python -m fingerd.client``: a copy of the source is enough to ask."""

import sys

from fingerd.client.cli import main

sys.exit(main())
