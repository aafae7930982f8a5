"""Headgate beside nginx and HAProxy on the vectors of the codec's tests: `python -m tests.conformance` makes the table.

Nothing but cases.py and exchanges.py says what is right; the rest plays the cases and tells what came of them. pytest
holds Headgate to the expected outcomes (test_headgate.py) and needs neither of the others.
"""
