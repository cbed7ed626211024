"""The same people by HTTP, for browsers and programs: pages, JSON, feeds, WebFinger."""
