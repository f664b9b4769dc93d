# The image: the locked dependencies and the wheel in one virtual environment, compiled to bytecode, run by a user without
# rights. Build: make image. Run: docker run -v "$PWD/config.yaml:/etc/auth-sidecar/config.yaml:ro" --network container:app …
FROM python:3.13.16-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/ requirements/
RUN python -m venv /tools \
 && /tools/bin/pip install --require-hashes --requirement requirements/build.lock \
 && python -m venv --without-pip /opt/auth-sidecar \
 && pip --python /opt/auth-sidecar install --no-compile --require-hashes --requirement requirements/run.lock
COPY pyproject.toml README.md LICENSE ./
COPY proxy/ proxy/
RUN /tools/bin/python -m hatchling build --target wheel --directory /dist \
 && pip --python /opt/auth-sidecar install --no-compile --no-deps /dist/*.whl \
 && /opt/auth-sidecar/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/auth-sidecar/lib

FROM python:3.13.16-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sidecar
COPY --from=build /opt/auth-sidecar /opt/auth-sidecar
ENV PATH=/opt/auth-sidecar/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    AUTH_SIDECAR_CONFIG=/etc/auth-sidecar/config.yaml
USER 10001:10001
WORKDIR /etc/auth-sidecar
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["auth-sidecar", "healthcheck"]
ENTRYPOINT ["auth-sidecar"]
CMD ["serve"]
