"""The agent on the Raspberry Pi: takes work, reads scanners, prints labels, keeps the journal."""
