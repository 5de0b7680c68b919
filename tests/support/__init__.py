"""Builders and fixtures shared by the tests."""
