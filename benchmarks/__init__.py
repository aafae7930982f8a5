"""Headgate measured beside nginx and HAProxy: `make bench`, or `python -m benchmarks`. See README.md."""
