"""Evaluation: how close the students come to the teacher, and how sure that is."""
