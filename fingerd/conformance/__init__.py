"""Tests from outside how a Finger server conforms to RFC 1288: ``python -m fingerd.conformance HOST[:PORT]``.

``exchange`` is one connection, ``probes`` the queries; ``texts`` and ``names`` examine answers; ``queries`` and
``services`` judge them by ``verdicts``; ``clauses`` lists the judges, ``table`` prints the findings.
Nothing is shared with the server, so that it cannot have the same errors.
"""
