# One image for every program of Huiju. Build it with `make image`.
#
# Both stages stand on BASE, which needs Python 3.11 as `python3` and nothing else: no pip, no
# compiler, no shell in the end. The build reaches no network: what is installed was collected and
# verified beforehand by `make wheels` (dist/wheels/ARCH), so that a site without any registry
# builds the image the same way. Pin BASE by digest where yours comes from a registry.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG ARCH=amd64
COPY dist/wheels/${ARCH} /wheels
COPY requirements/base.txt requirements/image.txt /wheels/
# The wheel of pip runs by itself. First what the lock names, hash by hash, then Huiju.
RUN ["python3", "-m", "venv", "--without-pip", "--symlinks", "/opt/huiju"]
ENV PYTHONPATH=/wheels/pip.whl PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN ["/opt/huiju/bin/python", "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", \
     "--only-binary=:all:", "--no-compile", "-r", "/wheels/base.txt"]
RUN ["/opt/huiju/bin/python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "huiju"]
# A third of the image, and used for the legacy auth providers of people's own kubeconfigs alone.
RUN ["/opt/huiju/bin/python", "-m", "pip", "uninstall", "--quiet", "--yes", "kubernetes", \
     "aiohttp-retry", "durationpy", "oauthlib", "requests-oauthlib", "requests", "websocket-client", \
     "urllib3", "charset-normalizer", "certifi", "python-dateutil"]
# The root file system is read-only where it runs: byte code has to be there beforehand.
RUN ["/opt/huiju/bin/python", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", \
     "unchecked-hash", "/opt/huiju/lib"]

FROM ${BASE}
ARG VERSION=0.0.0
LABEL org.opencontainers.image.title="huiju" \
      org.opencontainers.image.description="Joins AI computing centers into one network" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /opt/huiju /opt/huiju
ENV PATH=/opt/huiju/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1 HOME=/tmp
USER 65532:65532
ENTRYPOINT ["/opt/huiju/bin/python", "-m", "huiju"]
CMD ["--help"]
