"""Side-by-side measurements, one command each; figures, not tests."""
