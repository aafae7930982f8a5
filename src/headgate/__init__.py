"""Headgate: a Layer-7 load balancer with exact rate limiting, written in Python."""

__version__ = "0.1.0"
