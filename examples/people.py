#!/usr/bin/env python3
"""Tells of people in JSON, as command-json.yaml wants it: of one by the login, of all without one."""

import json
import os
import sys

PEOPLE = {
    "brindle": {
        "login": "brindle",
        "name": "Brindle Oakenshaw",
        "desk": {"room": "Kiln house"},
        "says": ["Fired.", "Up."],
    },
    "zoe": {"login": "zoe", "name": "Zoë Tidewater", "says": "Counting the tides."},
}

login = os.environ.get("FINGER_USER")  # an argument would do as well; the name is data, whatever it looks like
json.dump(PEOPLE.get(login) if login else {"people": list(PEOPLE.values())}, sys.stdout)  # null is an unknown user
