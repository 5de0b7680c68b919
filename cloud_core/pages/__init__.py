"""Pages people look at, drawn on the server; the tracking page needs no JavaScript."""
