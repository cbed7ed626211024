"""What can be told from outside of how a finger server keeps RFC 1288: ``python -m fingerd.conformance HOST[:PORT]``.

``wire`` holds one connection, ``probes`` says what is asked, ``texts`` compares answers, ``clauses`` judges them,
``table`` shows what was found. Nothing here is shared with the server, so that it cannot be wrong in the same way.
"""
