# What a stage runs in on a node of the cluster: `components` and what it imports, nothing else.
#
# BASE is any Debian or Ubuntu with Python 3.11 to 3.13, such as a CUDA `base` image of Ubuntu 24.04:
# torch's own packages carry the CUDA libraries, the node's device plugin mounts the driver.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
ARG EXTRAS=data,train,cluster,distributed
# Where pip looks, as on any machine; without them its own default.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL

# The package lists stay: the corpus stage downloads its text from Debian by package name.
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends bubblewrap \
    && (python3 -c 'import venv, ensurepip' 2>/dev/null || DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends python3-venv) \
    && rm -rf /var/cache/apt/archives/*.deb
RUN useradd --create-home --uid 10001 --user-group strata && python3 -m venv /opt/strata
ENV PATH=/opt/strata/bin:$PATH PYTHONUNBUFFERED=1 DS_BUILD_OPS=0

WORKDIR /strata
# The packages before the sources, so that a changed source costs no new installation.
COPY pyproject.toml constraints.txt ./
RUN mkdir components flows dashboards && touch LICENSE README.md \
    && pip install --no-cache-dir -q -c constraints.txt --editable ".[${EXTRAS}]"

# The one place a stage writes to: a volume where the root is read-only.
RUN install -d -o 10001 -g 10001 /var/lib/strata
ENV PYTHONPATH=/strata STRATA_HOME=/var/lib/strata
COPY components components
# build.sh gives both; the build ends here where the label would not fit the sources.
ARG COMMIT=unknown
ARG CODE
WORKDIR /home/strata
RUN python -m components.execution.image_code ${CODE:+--expect ${CODE}} > /strata/code-digest
LABEL strata.commit=${COMMIT} strata.code=${CODE}

USER 10001:10001
