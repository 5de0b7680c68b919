"""Data only: printer and scanner profiles, labels, udev rules, broker and boot configuration."""
