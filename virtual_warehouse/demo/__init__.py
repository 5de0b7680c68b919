"""`make demo`: the whole journey on one machine, with real processes and virtual hardware."""
