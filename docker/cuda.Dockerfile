# The service and the command line on an NVIDIA GPU: unverified on hardware. From the repository's root:
#   docker build -f docker/cuda.Dockerfile -t onnxpress:cuda .
#   docker run --init --gpus all -p 127.0.0.1:8000:8000 -v onnxpress-data:/data onnxpress:cuda
# CUDA 13 and cuDNN 9 come from Python packages, in the releases that onnxruntime-gpu asks for; the driver comes from
# the host, through NVIDIA's container toolkit. All else is as in cpu.Dockerfile, where the comments are.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
WORKDIR /source
RUN python3 -m venv /opt/onnxpress
ENV PATH=/opt/onnxpress/bin:$PATH

COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *p['optional-dependencies']['cuda'], sep='\n')" \
        > dependencies.txt \
    && pip install --no-cache-dir --no-compile -c constraints.txt -r dependencies.txt
# TensorFlow converts and times models on the CPU alone, so its own GPU kernels (0.6 GB) stay out.
RUN if [ "$(uname -m)" = x86_64 ]; then \
        sed -n 's/^tensorflow==/tensorflow-cpu==/p' constraints.txt > lean.txt \
        && pip uninstall -y tensorflow \
        && pip install --no-cache-dir --no-compile --no-deps -r lean.txt; \
    fi

COPY LICENSE README.md ./
COPY optimizer optimizer
COPY service service
RUN pip install --no-cache-dir --no-compile --no-deps . \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/onnxpress

FROM ${BASE}
RUN python3 -m compileall -q "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin onnxpress \
    && install --directory --owner onnxpress --group onnxpress /data /run/onnxpress
COPY --from=build /opt/onnxpress /opt/onnxpress
ENV PATH=/opt/onnxpress/bin:$PATH PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
# What the container toolkit gives in.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", \
    "import http.client as http; c = http.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/health'); exit(c.getresponse().status != 200)"]
ENTRYPOINT ["onnxpress"]
CMD ["serve", "--host", "0.0.0.0", "--insecure", "--data", "/data"]
