"""Tells people far away: a log, a signed web hook, the group robots of DingTalk and WeCom.

One module a language; building a message and reading an answer are pure functions, the one HTTP
call (`transport`) is handed in. A robot's address holds its key, so no text here ever names one.
"""
