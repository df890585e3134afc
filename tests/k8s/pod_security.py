"""The Pod Security Standards' levels *baseline* and *restricted*, as rules over a pod template.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/. Linux pods.
"""

from collections.abc import Iterator

from tests.k8s.manifests import Object, containers

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SECCOMP = ("RuntimeDefault", "Localhost")
SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def find_violations(template: Object) -> list[str]:
    """Return what the level *restricted* forbids in a pod, empty if it would be admitted."""
    return [
        *_pod(template),
        *(f"{item['name']}: {text}" for item in containers(template) for text in _container(template, item)),
    ]


def _pod(template: Object) -> Iterator[str]:
    spec = template["spec"]
    context = spec.get("securityContext", {})
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"{field} is set"
    for volume in spec.get("volumes", ()):
        if not VOLUMES.intersection(volume):
            yield f"volume {volume['name']} is of a forbidden type"
    for sysctl in context.get("sysctls", ()):
        if sysctl["name"] not in SAFE_SYSCTLS:
            yield f"sysctl {sysctl['name']} is not safe"
    for name, profile in template["metadata"].get("annotations", {}).items():
        if name.startswith("container.apparmor.security.beta.kubernetes.io/") and profile == "unconfined":
            yield "AppArmor is off"
    if context.get("runAsUser") == 0:
        yield "runAsUser is 0"
    yield from _profiles(context)


def _container(template: Object, container: Object) -> Iterator[str]:
    pod, own = template["spec"].get("securityContext", {}), container.get("securityContext", {})
    if own.get("privileged"):
        yield "is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not true"
    if own.get("runAsUser") == 0:
        yield "runAsUser is 0"
    if own.get("seccompProfile", pod.get("seccompProfile", {})).get("type") not in SECCOMP:
        yield "seccompProfile is neither RuntimeDefault nor Localhost"
    if own.get("procMount", "Default") != "Default":
        yield "procMount is not Default"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()):
        yield "does not drop ALL capabilities"
    if added := set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield f"adds {', '.join(sorted(added))}"
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield "uses a hostPort"
    yield from _profiles(own)
    yield from _hosts(container)


def _profiles(context: Object) -> Iterator[str]:
    if context.get("seccompProfile", {}).get("type", "RuntimeDefault") not in SECCOMP:
        yield "seccomp is off"
    if context.get("appArmorProfile", {}).get("type", "RuntimeDefault") not in SECCOMP:
        yield "AppArmor is off"
    selinux = context.get("seLinuxOptions", {})
    if selinux.get("type", "") not in SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
        yield "seLinuxOptions are not allowed"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield "is a host process"


def _hosts(container: Object) -> Iterator[str]:
    """Probes and hooks that name a host are forbidden since 1.34."""
    handlers = [container.get(probe, {}) for probe in PROBES] + list(container.get("lifecycle", {}).values())
    for handler in handlers:
        for action in ("httpGet", "tcpSocket"):
            if handler.get(action, {}).get("host"):
                yield f"a probe or hook names the host {handler[action]['host']}"
