"""The languages of shops: one folder a dialect, pure functions from bytes to `ShopEvent`s.

First stop after the HTTP door. No folder here knows another; `bootstrap` makes the registry.
"""
