"""Datasets: their sources, their cleaning, and the draw of the few labelled texts."""
