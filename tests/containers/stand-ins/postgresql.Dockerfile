# Debian's PostgreSQL where no registry holds the official image, behind the same documented interface: variables, user, paths, scripts,
# stop signal. https://github.com/docker-library/docs/blob/master/postgres/content.md
FROM python:3.11-slim
RUN groupadd --system --gid 999 postgres \
    && useradd --system --gid postgres --uid 999 --home-dir /var/lib/postgresql --shell /bin/bash postgres \
    && apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends postgresql libnss-wrapper xz-utils zstd >/dev/null \
    && install -d -o postgres -g postgres -m 1777 /var/lib/postgresql/data \
    && install -d -o postgres -g postgres -m 3777 /var/run/postgresql \
    && install -d /docker-entrypoint-initdb.d \
    && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/ \
    && sed -i "s/^#listen_addresses = .*/listen_addresses = '*'/" /usr/share/postgresql/*/postgresql.conf.sample
COPY postgresql.sh /usr/local/bin/docker-entrypoint.sh
RUN chmod +x /usr/local/bin/docker-entrypoint.sh
ENV PGDATA=/var/lib/postgresql/data
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
EXPOSE 5432
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
