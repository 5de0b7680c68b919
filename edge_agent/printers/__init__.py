"""Speaks to label printers: languages (`tspl`) are pure, transports (`tcp`) move bytes.

A driver is one language plus one transport, put together in bootstrap; siblings here never import
one another. Knows nothing of orders, jobs or journals.
"""
