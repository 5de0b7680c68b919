"""The wire language both programs share: a leaf without I/O and without a clock."""
