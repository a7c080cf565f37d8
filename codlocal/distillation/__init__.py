"""From a teacher and few texts to a student: objectives, batches, the training loop, the stages."""
