"""``python -m fingerd.client``: runs pyfinger from a copy of the source."""

import sys

from fingerd.client.cli import main

sys.exit(main())
