# Debian's Alertmanager where no registry holds the official image; user and folders are the same.
FROM python:3.11-slim
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends prometheus-alertmanager wget >/dev/null \
    && install -d -o nobody -g nogroup /alertmanager
USER nobody
WORKDIR /alertmanager
ENTRYPOINT ["prometheus-alertmanager"]
