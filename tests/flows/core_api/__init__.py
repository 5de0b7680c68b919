"""The core behind its HTTP door."""
