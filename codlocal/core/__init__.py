"""What every part needs and knows nothing of the parts: rows, errors, settings, run folder."""
