"""What the end-to-end tests stand on: Headgate in processes of its own, controllable backends, and clients.

Tests are plain functions that read like a script. Backends and load run in threads with loops of their own, so that a
test can do one thing after the other while they go on. Nothing sleeps to be in step: what must have happened is waited
for by its condition (`wait_for`).
"""
