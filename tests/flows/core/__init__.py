"""The core's flows, told as stories."""
