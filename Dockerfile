# The image: the locked dependencies and the wheel in one virtual environment, compiled to bytecode, run by a user without
# rights. It runs with a read-only root. Build: make image. Use: docs/deploy.md
FROM python:3.13.16-slim-bookworm AS build
# Extras of pyproject.toml, each with its own lock; --build-arg EXTRAS= for none.
ARG EXTRAS=redis
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/ requirements/
RUN --mount=type=cache,target=/root/.cache/pip set -eu; \
    python -m venv --without-pip /tools; \
    python -m pip --python /tools install --no-compile --no-deps --require-hashes --requirement requirements/build.lock; \
    python -m venv --without-pip /opt/auth-sidecar; \
    set -- --requirement requirements/run.lock; \
    for extra in $EXTRAS; do set -- "$@" --requirement "requirements/extra-$extra.lock"; done; \
    python -m pip --python /opt/auth-sidecar install --no-compile --no-deps --require-hashes "$@"
COPY pyproject.toml README.md LICENSE ./
COPY proxy/ proxy/
RUN set -eu; \
    /tools/bin/python -m hatchling build --target wheel --directory /dist; \
    python -m pip --python /opt/auth-sidecar install --no-compile --no-deps --no-index /dist/*.whl; \
    /opt/auth-sidecar/bin/python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash /opt/auth-sidecar/lib

FROM python:3.13.16-slim-bookworm
# The base image comes without the standard library's bytecode, and nothing could write it at run time.
RUN set -eu; \
    groupadd --system --gid 10001 sidecar; \
    useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sidecar; \
    install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/auth-sidecar; \
    install --directory --owner=10001 --group=10001 --mode=0755 /run/auth-sidecar; \
    python -m pip uninstall --quiet --yes --root-user-action=ignore pip; \
    library=$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))'); \
    rm -rf "$library/ensurepip"; \
    python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -x '/(idlelib|lib2to3|site-packages|test|tests|tkinter|turtledemo)/' "$library"
COPY --from=build /opt/auth-sidecar /opt/auth-sidecar
ENV PATH=/opt/auth-sidecar/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    AUTH_SIDECAR_CONFIG=/etc/auth-sidecar/config.yaml
USER 10001:10001
WORKDIR /etc/auth-sidecar
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["auth-sidecar", "healthcheck"]
ENTRYPOINT ["auth-sidecar"]
CMD ["serve"]
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="auth-sidecar" \
      org.opencontainers.image.description="A sidecar authenticating reverse proxy: every request of an app leaves with the right, fresh credential." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
