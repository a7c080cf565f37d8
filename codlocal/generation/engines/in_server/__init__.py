"""What runs in the server's process, whose Python has this folder alone on its path."""
