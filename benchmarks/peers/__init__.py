"""Programs of others that are measured beside ours, each run under an environment of its own."""
