"""The core's journey, one verb a module: load, ask the domain, decide, say so."""
