"""What the core remembers: all SQL of this side, one module a noun."""
