"""Attacks on real daemons, one after the other: a good client must not notice, and nothing of the attack may stay."""
