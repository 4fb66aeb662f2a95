# Everything that decides and nothing that needs a GPU: Prefect's server and worker, the
# reconciler, MLflow, the gateway in front of their pages, and the command line. Without a cluster
# the worker carries steps out itself.
#
# It has the packages of the stages too: an artifact's key is made of their versions.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
ARG EXTRAS=data,train,servers,cluster
# Where pip looks, as on any machine; without them its own default.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL

# The package lists stay: text sources are resolved and downloaded by package name.
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends bubblewrap nginx tini \
    && rm -rf /var/cache/apt/archives/*.deb
RUN useradd --create-home --uid 10001 --user-group strata && python3 -m venv /opt/strata \
    && install -d -o 10001 -g 10001 /var/lib/strata
ENV PATH=/opt/strata/bin:$PATH PYTHONUNBUFFERED=1

WORKDIR /strata
# The packages before the sources, so that a changed source costs no new installation.
COPY pyproject.toml constraints.txt ./
RUN mkdir components flows dashboards && touch LICENSE README.md \
    && pip install --no-cache-dir -q -c constraints.txt --editable ".[${EXTRAS}]"

ENV PYTHONPATH=/strata STRATA_HOME=/var/lib/strata
COPY components components
COPY flows flows
COPY dashboards dashboards
COPY infra/images/buckets.py infra/images/healthy.py infra/images/
# build.sh gives both; the build ends here where the label would not fit the sources.
ARG COMMIT=unknown
ARG CODE
WORKDIR /home/strata
RUN python -m components.execution.image_code ${CODE:+--expect ${CODE}} > /strata/code-digest
LABEL strata.commit=${COMMIT} strata.code=${CODE}

USER 10001:10001
# As the first process of a container Python ignores SIGTERM, and a pod would take its whole grace
# period to go.
ENTRYPOINT ["tini", "--"]
