"""Models on disk and in memory: where they come from, and how they classify texts."""
