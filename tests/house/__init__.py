"""Tests of the code's own shape: lengths, names, docs in step, nothing local left behind."""
