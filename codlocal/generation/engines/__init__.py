"""Whatever answers a request: a vLLM server, transformers in process, replies of another run."""
