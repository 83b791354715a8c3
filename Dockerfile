# docker build -t millrace . && docker run -p 8080:8080 -v "$PWD/conf:/etc/millrace:ro" -v millrace:/var/lib/millrace millrace
# The config is /etc/millrace/millrace.yaml; let its data_dir be /var/lib/millrace/data and its zone file:/var/lib/millrace/raw.
FROM debian:12-slim AS build
WORKDIR /src
COPY deps/install-debian.sh deps/
RUN deps/install-debian.sh build
COPY . .
RUN cmake --preset release && cmake --build --preset release && strip build/release/millrace

FROM debian:12-slim
RUN apt-get update -q \
    && apt-get install -y -q --no-install-recommends libuv1 libyaml-0-2 libsqlite3-0 libzstd1 zlib1g libssl3 libmbedtls14 libcurl4 libexpat1 libpq5 librdkafka1 libroaring0 ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/millrace --create-home --shell /usr/sbin/nologin millrace
COPY --from=build /src/build/release/millrace /usr/local/bin/millrace
COPY --from=build /src/LICENSE /usr/share/doc/millrace/LICENSE
USER millrace
WORKDIR /var/lib/millrace
VOLUME /var/lib/millrace
EXPOSE 8080
# By bash's own socket: the image needs no curl. The admin listener is on its default address, inside the container.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD \
    ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9464 && printf 'GET /healthz HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["millrace"]
CMD ["run", "-c", "/etc/millrace/millrace.yaml"]
