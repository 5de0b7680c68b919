"""Speaks to scanners: `serial` (wired, a thread a port) and `hid` (keyboard scanners, decoder).

Each turns one device's signals into `ScanEvent`s and knows nothing of tasks or the journal.
"""
