"""A retraining as a Job of the cluster: made from the CronJob ``retrain``, as ``kubectl create job --from`` does.

The Job is named after its cause and try, so that a second monitor, or one that lost its record, gets a 409 instead of a second
Job. Needs a service account that may get the CronJob and get, list and create Jobs; see ``k8s/``.
"""

import hashlib
import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlops_project.errors import ConfigError, StackError
from mlops_project.timed_http import open_url

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")  # where every pod finds its token, CA and namespace
CRON_JOB = "retrain"
TIMEOUT_SECONDS = 10.0
JobState = Literal["active", "ended", "absent"]
_MANUAL = {"cronjob.kubernetes.io/instantiate": "manual"}  # as kubectl marks it


def build_job_name(key: str, number: int) -> str:
    """Return the name of a cause's ``number``-th Job, from 1: lower case, at most 63 characters."""
    return f"{CRON_JOB}-{hashlib.sha256(key.encode()).hexdigest()[:12]}-{number}"


@dataclass(frozen=True)
class Cluster:
    """The API server, as a pod reaches it.

    Attributes
    ----------
    address
        ``https://host:port``.
    account
        Folder with ``token`` (read for every request: it is renewed), ``ca.crt`` and ``namespace``.
    """

    address: str
    account: Path

    @classmethod
    def of_this_pod(cls) -> "Cluster":
        """Return the cluster that this process runs in.

        Raises
        ------
        ConfigError
            If it does not run in a pod with a service account.
        """
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not (ACCOUNT / "token").exists():
            raise ConfigError(
                "retraining.runner is kubernetes, and this process is in no pod with a service account; "
                "use retraining.runner: process, or mount the service account's token"
            )
        return cls(f"https://{f'[{host}]' if ':' in host else host}:{port}", ACCOUNT)

    def create_job(self, name: str, arguments: list[str]) -> bool:
        """Start the CronJob's container with further arguments; False if the Job is there already.

        Raises
        ------
        StackError
            If the cluster cannot be reached or refuses.
        """
        cron_job = self._call("GET", f"cronjobs/{CRON_JOB}")
        if cron_job is None:
            raise StackError(f"there is no CronJob {CRON_JOB!r} in namespace {self._namespace()!r} to start a retraining from")
        return self._call("POST", "jobs", _build_job(cron_job, name, arguments)) is not None

    def read_state(self, name: str) -> JobState:
        """Return whether a Job still runs.

        Raises
        ------
        StackError
            If the cluster cannot be reached or refuses.
        """
        job = self._call("GET", f"jobs/{name}")
        if job is None:
            return "absent"
        return "ended" if _has_ended(job) else "active"

    def is_retraining(self) -> bool:
        """Whether any Job of the CronJob runs, whoever made it.

        Raises
        ------
        StackError
            If the cluster cannot be reached or refuses.
        """
        listed = self._call("GET", "jobs") or {}
        return any(_owner(job) == CRON_JOB and not _has_ended(job) for job in listed.get("items", ()))

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """Return the answer; None for 404 and 409."""
        request = urllib.request.Request(  # noqa: S310 - https only, see of_this_pod
            f"{self.address}/apis/batch/v1/namespaces/{urllib.parse.quote(self._namespace())}/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._read('token')}", "Content-Type": "application/json"},
        )
        context = ssl.create_default_context(cafile=str(self.account / "ca.crt"))
        try:
            with open_url(request, TIMEOUT_SECONDS, context=context) as response:
                answer: dict[str, Any] = json.loads(response.read())
                return answer
        except urllib.error.HTTPError as error:
            if error.code in (404, 409):
                return None
            raise StackError(f"the cluster answers {method} {path} with {error.code}: {_explain(error)}") from error
        except (OSError, ValueError) as error:
            raise StackError(f"the cluster cannot be reached at {self.address}: {getattr(error, 'reason', error)}") from error

    def _namespace(self) -> str:
        return self._read("namespace")

    def _read(self, name: str) -> str:
        return (self.account / name).read_text(encoding="utf-8").strip()


def _explain(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read()).get("message", error.reason))[:300]
    except (OSError, ValueError, AttributeError):
        return str(error.reason)


def _build_job(cron_job: dict[str, Any], name: str, arguments: list[str]) -> dict[str, Any]:
    """Return the Job: the CronJob's template, with the arguments behind its first container's."""
    template, meta = cron_job["spec"]["jobTemplate"], cron_job["metadata"]
    job: dict[str, Any] = json.loads(json.dumps({"spec": template["spec"], "metadata": template.get("metadata", {})}))
    container = job["spec"]["template"]["spec"]["containers"][0]
    container["args"] = [*container.get("args", ()), *arguments]
    job["metadata"] |= {
        "name": name,
        "annotations": job["metadata"].get("annotations", {}) | _MANUAL,
        # Its controller: the CronJob counts the Job as one of its own, and deletes it by its history limits.
        "ownerReferences": [
            {"apiVersion": "batch/v1", "kind": "CronJob", "name": meta["name"], "uid": meta["uid"], "controller": True}
        ],
    }
    return {"apiVersion": "batch/v1", "kind": "Job", **job}


def _owner(job: dict[str, Any]) -> str:
    owners = job["metadata"].get("ownerReferences", ())
    return next((str(owner["name"]) for owner in owners if owner.get("kind") == "CronJob"), "")


def _has_ended(job: dict[str, Any]) -> bool:
    conditions = job.get("status", {}).get("conditions") or ()
    return any(item.get("type") in ("Complete", "Failed") and item.get("status") == "True" for item in conditions)
