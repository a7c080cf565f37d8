"""What makes a machine ready: the engine's own environment, and the doctor that checks it all."""
