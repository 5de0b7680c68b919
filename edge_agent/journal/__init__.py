"""Remembers: the agent's SQLite file. All SQL of the edge lives here, one module a noun.

Rows of the upward stream, command inbox, fences, tasks and print jobs share one file, because a
WAL commit is atomic per file only (DESIGN §5). Knows no broker, no scanner and no printer.
"""
