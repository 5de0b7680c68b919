"""Both whole programs on virtual time: real flows, SQL, journal, protocol; seeded faults."""
