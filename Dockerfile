# The service as an image: no training, no shell needed, no root, nothing written.
#
#   docker build --tag diffmask .
#   docker build --tag diffmask:cuda --build-arg VARIANT=cuda .
#   docker run --read-only -v ./bundles/sst2-minilm:/models:ro -p 127.0.0.1:8081:8081 \
#       diffmask serve --bundle /models --host 0.0.0.0 --insecure
#
# PYTHON_IMAGE may name a digest, or a mirror; it must hold Python 3.11 at the same place
# in both stages, because the environment points to it.
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# cpu or cuda; with cuda come the CUDA and cuDNN libraries.
ARG VARIANT=cpu
WORKDIR /source
COPY deploy/image/ deploy/image/
COPY pyproject.toml README.md LICENSE ./
COPY service/ service/
RUN bash deploy/image/install "$VARIANT" /opt/diffmask

FROM ${PYTHON_IMAGE} AS service
COPY --from=build /opt/diffmask /opt/diffmask
ENV PATH=/opt/diffmask/bin:/usr/local/bin:/usr/bin:/bin \
    LD_LIBRARY_PATH=/opt/diffmask/lib/python3.11/site-packages/nvidia/cu13/lib:/opt/diffmask/lib/python3.11/site-packages/nvidia/cudnn/lib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /
EXPOSE 8081 8082 8083
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["diffmask", "healthcheck"]
ENTRYPOINT ["diffmask"]
CMD ["serve"]
