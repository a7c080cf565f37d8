"""codlocal: distil a big classifier into a small one from a handful of labels, offline."""

__version__ = "0.1.0"
