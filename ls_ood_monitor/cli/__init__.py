"""Commands for people: parse, call, show, exit code."""
