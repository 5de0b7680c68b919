"""Carriers: one folder each; nothing here knows another carrier."""
