"""RFC 1288, clause by clause: each test is named by the number that its clause has in docs/rfc1288.md."""
