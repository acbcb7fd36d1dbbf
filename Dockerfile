# srdeploy on the CPU:  docker build -t srdeploy .
#                       docker run --rm -v "$PWD:/data" srdeploy run clip.mp4
#                       docker run --rm -p 8000:8000 srdeploy serve --host 0.0.0.0
ARG BASE=python:3.13-slim
FROM $BASE AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-cache-dir --wheel-dir /wheels '.[cpu,openvino,serve]'

FROM $BASE
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels 'srdeploy[cpu,openvino,serve]' \
    && useradd --create-home srdeploy
USER srdeploy
WORKDIR /data
EXPOSE 8000
ENTRYPOINT ["srdeploy"]
CMD ["--help"]
