"""A soak test: minutes of mixed load, good and hostile, on real daemons. No answer may be lost or wrong."""
