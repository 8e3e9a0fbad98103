# The command `intent-events`: the sink, and everything that an operator runs against Postgres (migrate, doctor, report).

# Not the slim one: it has the compiler that the inner loops in C are built with.
FROM python:3.13 AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1
RUN pip install uv==0.13.9 && uv venv /opt/intent-events
COPY . .
# Versions and hashes are those that the tests ran with.
RUN uv pip install --python /opt/intent-events/bin/python --constraint requirements.lock '.[sink]'

FROM python:3.13-slim
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin intent
COPY --from=build /opt/intent-events /opt/intent-events
ENV PATH=/opt/intent-events/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 4317 4318
ENTRYPOINT ["intent-events"]
CMD ["sink"]
