# moto's S3 server where no registry holds versitygw; it answers on the same port, keeps everything in memory and asks for no password.
FROM python:3.11-slim
RUN pip install --no-cache-dir "moto[server]==5.2.5"
RUN printf '#!/bin/sh\nexec python -c "import urllib.request; urllib.request.urlopen(\\"http://127.0.0.1:9000/moto-api/\\")"\n' >/usr/local/bin/wget \
    && chmod +x /usr/local/bin/wget
ENTRYPOINT ["sh", "-c", "exec moto_server --host 0.0.0.0 --port 9000"]
