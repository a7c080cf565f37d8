"""Benchmarks: what is measured against a real server, never a timed test."""
