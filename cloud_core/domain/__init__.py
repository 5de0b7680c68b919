"""What the core decides: pure, no I/O, no clock."""
