# Debian's Alertmanager where no registry holds the official image; user, folders and the program's path are the same.
FROM python:3.11-slim
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends prometheus-alertmanager wget >/dev/null \
    && ln -s prometheus-alertmanager /usr/bin/alertmanager \
    && install -d -o nobody -g nogroup /alertmanager
USER nobody
WORKDIR /alertmanager
ENTRYPOINT ["prometheus-alertmanager"]
