"""RFC 1288, clause by clause: the name of each test has the number of its clause in docs/rfc1288.md."""
