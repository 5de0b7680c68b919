"""Conducts: one verb a module, each a plain function over one transaction of the journal.

A flow loads, asks the domain, saves and appends the event, all in the commit it is called in.
Knows no broker, no scanner, no printer and no clock: moments and bytes come in, decisions go out.
"""
