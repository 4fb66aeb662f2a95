# The dashboard: reads the store and the catalog, and talks to Prefect to start a run.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
# Where pip looks, as on any machine; without them its own default.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL

RUN useradd --create-home --uid 10001 --user-group strata && python3 -m venv /opt/strata \
    && install -d -o 10001 -g 10001 /var/lib/strata
ENV PATH=/opt/strata/bin:$PATH PYTHONUNBUFFERED=1

WORKDIR /strata
# The packages before the sources, so that a changed source costs no new installation. Without
# MLflow and its closure, which the dashboard does not use.
COPY pyproject.toml constraints.txt ./
RUN mkdir components flows dashboards && touch LICENSE README.md \
    && pip install --no-cache-dir -q -c constraints.txt --editable ".[cluster]" \
        altair fastapi prefect pyarrow streamlit

ENV PYTHONPATH=/strata STRATA_HOME=/var/lib/strata
COPY components components
COPY flows flows
COPY dashboards dashboards
COPY infra/images/healthy.py infra/images/
# build.sh gives both; the build ends here where the label would not fit the sources.
ARG COMMIT=unknown
ARG CODE
WORKDIR /home/strata
RUN python -m components.execution.image_code ${CODE:+--expect ${CODE}} > /strata/code-digest
LABEL strata.commit=${COMMIT} strata.code=${CODE}

USER 10001:10001
