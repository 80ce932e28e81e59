# The service and the command line, without a GPU. From the repository's root:
#   docker build -f docker/cpu.Dockerfile -t onnxpress:cpu .
#   docker run --init -p 127.0.0.1:8000:8000 -v onnxpress-data:/data onnxpress:cpu
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
WORKDIR /source
RUN python3 -m venv /opt/onnxpress
ENV PATH=/opt/onnxpress/bin:$PATH

# Dependencies first: a change of our own code does not install them again.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > dependencies.txt \
    && pip install --no-cache-dir --no-compile -c constraints.txt -r dependencies.txt
# The same releases without their GPU kernels: 0.9 GB less. pip alone cannot choose them, since tf-keras asks for
# `tensorflow` by name. Only x86-64 has such pairs; elsewhere the first line has installed CPU builds already.
RUN if [ "$(uname -m)" = x86_64 ]; then \
        sed -n 's/^tensorflow==/tensorflow-cpu==/p; s/^onnxruntime-gpu==/onnxruntime==/p' constraints.txt > lean.txt \
        && pip uninstall -y tensorflow onnxruntime-gpu \
        && pip install --no-cache-dir --no-compile --no-deps -r lean.txt; \
    fi

COPY LICENSE README.md ./
COPY optimizer optimizer
COPY service service
# Unchecked bytecode, because the user of the image cannot write any, and copies may change the times of files.
RUN pip install --no-cache-dir --no-compile --no-deps . \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/onnxpress

FROM ${BASE}
# The official Python images come without bytecode for the standard library, and each stage of a job is a new process.
# /run/onnxpress is for a lock that several containers share: see compose.yaml.
RUN python3 -m compileall -q "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin onnxpress \
    && install --directory --owner onnxpress --group onnxpress /data /run/onnxpress
COPY --from=build /opt/onnxpress /opt/onnxpress
# ONNX Runtime's own telemetry would write an identifier to HOME, and send events where it can.
ENV PATH=/opt/onnxpress/bin:$PATH PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
# By number, so that an orchestrator can tell that it is not root.
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# http.client, because urllib would ask a proxy that the environment names.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", \
    "import http.client as http; c = http.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/health'); exit(c.getresponse().status != 200)"]
ENTRYPOINT ["onnxpress"]
# --insecure: it must listen beyond the container's loopback. Publish the port on 127.0.0.1 alone, or behind a
# proxy that asks who is there.
CMD ["serve", "--host", "0.0.0.0", "--insecure", "--data", "/data"]
