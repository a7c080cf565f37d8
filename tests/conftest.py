"""Settings for all tests."""

import signal

# A runner may start pytest with Ctrl-C ignored, as shells do for background jobs; the processes
# that the tests start inherit that. The tests of Ctrl-C need it to be heard.
signal.signal(signal.SIGINT, signal.default_int_handler)
