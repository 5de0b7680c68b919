"""Stories of one bench, told through the flows on real SQLite."""
