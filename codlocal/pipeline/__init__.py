"""The stages put together: which engine and teacher each of them gets, and in which order."""
