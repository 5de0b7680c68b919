"""Tests of the flows of both programs, on real databases."""
