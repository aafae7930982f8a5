"""The command line: one module for each command, imported only when that command is called.

`main` imports click and the standard library alone, so that `headgate --help` answers at once. Commands raise
`UserError`; `main` is the one place that turns it into lines on standard error and an exit code.
"""
