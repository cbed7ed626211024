"""Mixed load, good and hostile, on real daemons for minutes; and afterwards nothing may be lost, wrong or left over."""
