"""Programs that run inside the guest, on its own Python and nothing else; never imported here."""
