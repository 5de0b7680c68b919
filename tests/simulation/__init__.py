"""The whole of both programs on virtual time: real flows, SQL, journal and protocol, seeded faults."""
