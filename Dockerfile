# GPU image: codlocal in one environment, vLLM in another, both without a model.
#   docker build -t codlocal .
#   mkdir -p runs   # user 1000, who runs codlocal, writes there
#   docker run --gpus all --ipc=host -v "$PWD/runs:/work/runs" -v codlocal:/store codlocal \
#       pipeline --dataset yelp
FROM python:3.12-slim

# vLLM's kernels are compiled on first use, which takes a C compiler.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY scripts/constraints.txt scripts/
COPY prompts prompts
COPY codlocal codlocal
ENV PIP_NO_CACHE_DIR=1 \
    CODLOCAL_ENGINE=/opt/engine
RUN pip install --constraint scripts/constraints.txt . \
    && codlocal engine install --gpu

RUN useradd --uid 1000 --create-home codlocal \
    && mkdir -p /work /store \
    && chown codlocal /work /store
USER codlocal
WORKDIR /work
ENV CODLOCAL_HOME=/store \
    HF_HOME=/store/huggingface
VOLUME ["/store"]
ENTRYPOINT ["codlocal"]
CMD ["--help"]
