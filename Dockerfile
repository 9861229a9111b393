# PostgreSQL with pgwebhook, on the official image of PostgreSQL:
#
#   docker build -t pgwebhook .                            from this source
#   docker build --build-arg PG_MAJOR=16 ...               the same for another version of PostgreSQL
#   docker build --target package --build-arg PG_MAJOR=15 --build-arg DEBIAN=bookworm -t pgwebhook .
#                                                          from packages/, as `make deb` left it there on
#                                                          that Debian, which has that version
#
# The image is used as that of PostgreSQL is. Clusters that it makes preload webhook, whatever
# their command line; for one that exists already, add -c shared_preload_libraries=webhook.
# test/packages/dockerfile.sh runs these steps without Docker, so it has to know
# each instruction that is used here.
ARG PG_MAJOR=17
ARG DEBIAN=bookworm

# what compiles stays behind in this stage
FROM postgres:${PG_MAJOR}-${DEBIAN} AS build
ARG PG_MAJOR
RUN apt-get update && \
    apt-get install -y --no-install-recommends build-essential libcurl4-openssl-dev libssl-dev postgresql-server-dev-${PG_MAJOR}
COPY . /source
RUN make -C /source PG_MAJOR=${PG_MAJOR} && \
    make -C /source PG_MAJOR=${PG_MAJOR} DESTDIR=/installed install

# all that it takes to run: libcurl, OpenSSL (which the server has), the authorities of TLS
FROM postgres:${PG_MAJOR}-${DEBIAN} AS package
ARG PG_MAJOR
COPY packages/postgresql-${PG_MAJOR}-webhook_*.deb /tmp/
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates /tmp/postgresql-${PG_MAJOR}-webhook_*.deb && \
    rm -rf /var/lib/apt/lists/* /tmp/postgresql-${PG_MAJOR}-webhook_*.deb
RUN echo "shared_preload_libraries = 'webhook'" >>/usr/share/postgresql/${PG_MAJOR}/postgresql.conf.sample

FROM postgres:${PG_MAJOR}-${DEBIAN} AS source
ARG PG_MAJOR
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates libcurl4 && \
    rm -rf /var/lib/apt/lists/*
COPY --from=build /installed/ /
RUN echo "shared_preload_libraries = 'webhook'" >>/usr/share/postgresql/${PG_MAJOR}/postgresql.conf.sample
