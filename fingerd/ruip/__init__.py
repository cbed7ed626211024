"""The RUIP of RFC 1288: a query and the client who asks become an answer."""
