# Debian's PostgreSQL where no registry holds the official image; the variables and paths that the Compose file uses are the same.
FROM python:3.11-slim
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends postgresql >/dev/null \
    && install -d -o postgres -g postgres /var/lib/postgresql/data /var/run/postgresql \
    && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/
COPY postgresql.sh /usr/local/bin/start
USER postgres
ENTRYPOINT ["sh", "/usr/local/bin/start"]
