# SPDX-License-Identifier: MIT
"""The examples in scripts/kubernetes: each is read by what reads it, or by a YAML parser; names that refer
to one another agree; and what the pod of truepeer.yaml does is done here."""

import glob
import shutil
import subprocess

import pytest

from harness import COMMAND, HERE, LIBRARY, ask, environment, find, free_port, name, unsanitized, v1

yaml = pytest.importorskip("yaml", reason="no YAML parser (Debian package python3-yaml)")
pytestmark = unsanitized("what a pod has is the library alone")
EXAMPLES = HERE.parents[1] / "scripts/kubernetes"
SENDERS = sorted(path.name for path in EXAMPLES.iterdir() if path.name != "truepeer.yaml")
MAIL = "mail.default.svc.cluster.local:25"


def documents(file):
    """{kind: document}"""
    made = list(yaml.safe_load_all((EXAMPLES / file).read_text()))
    by_kind = {document["kind"]: document for document in made}
    assert len(by_kind) == len(made)
    assert all(document["apiVersion"] and document["metadata"]["name"] for document in made)
    return by_kind


def named(things, wanted):
    found, = [thing for thing in things if thing["name"] == wanted]
    return found


@pytest.fixture
def workload():
    return documents("truepeer.yaml")


@pytest.fixture
def pod(workload):
    return workload["Deployment"]["spec"]["template"]["spec"]


def is_for_the_pod(service, workload):
    template = workload["Deployment"]["spec"]["template"]
    assert service["spec"]["selector"] == template["metadata"]["labels"]
    port, = service["spec"]["ports"]
    target = named(template["spec"]["containers"][0]["ports"], port["targetPort"])
    assert port["port"] == target["containerPort"] == 25


def is_the_service(reference, workload):
    service = workload["Service"]
    assert reference["name"] == service["metadata"]["name"]
    assert reference["port"] == service["spec"]["ports"][0]["port"]


def test_senders_are_all_here():
    assert SENDERS == ["aws-nlb.yaml", "envoy-gateway.yaml", "gost.yaml", "haproxy.cfg", "nginx.conf", "traefik.yaml"]


def test_workload_gets_the_library_and_the_settings(workload, pod):
    deployment = workload["Deployment"]["spec"]
    assert deployment["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"]
    is_for_the_pod(workload["Service"], workload)
    volume, = pod["volumes"]
    for container in (pod["initContainers"][0], pod["containers"][0]):
        mount, = container["volumeMounts"]
        assert mount["name"] == volume["name"] and mount["mountPath"] == "/truepeer"
    source, = pod["containers"][0]["envFrom"]
    assert source["configMapRef"]["name"] == workload["ConfigMap"]["metadata"]["name"]


def test_settings_are_right(workload):
    settings = workload["ConfigMap"]["data"]
    assert all(isinstance(value, str) for value in settings.values())
    variables = {key: value for key, value in settings.items() if key != "LD_PRELOAD"}
    assert subprocess.run([COMMAND, "check"], env={**environment(plain=True), **variables}, check=False).returncode == 0


def test_pod_names_its_client(workload, pod, run, server_path, tmp_path):
    """What the containers do, with the paths of the example in a folder."""
    def here(path):
        return str(tmp_path) + path

    mounted, image = tmp_path / "truepeer", tmp_path / "usr/local/lib/truepeer"
    mounted.mkdir()
    image.mkdir(parents=True)
    shutil.copy(LIBRARY, image)
    copy, *operands = pod["initContainers"][0]["command"]
    subprocess.run([copy, *map(here, operands)], check=True)
    settings = workload["ConfigMap"]["data"]
    env = {**environment(plain=True), **settings, "LD_PRELOAD": here(settings["LD_PRELOAD"]),
           "TRUEPEER_TRUST": "loopback"}
    del env["TRUEPEER_LISTEN"]  # the test's port is any that is free
    server = run([server_path, "loop"], env).listening()
    assert ask(server.port, v1()).peer == name("203.0.113.7", 56324)


def test_aws_nlb(workload):
    service = documents("aws-nlb.yaml")["Service"]
    is_for_the_pod(service, workload)
    annotations = service["metadata"]["annotations"]
    prefix = "service.beta.kubernetes.io/aws-load-balancer-"
    attributes = dict(pair.split("=") for pair in annotations[prefix + "target-group-attributes"].split(","))
    assert attributes == {"proxy_protocol_v2.enabled": "true", "preserve_client_ip.enabled": "false"}
    assert all(key.startswith(prefix) and isinstance(value, str) for key, value in annotations.items())


def test_traefik(workload):
    made = documents("traefik.yaml")
    service, = made["IngressRouteTCP"]["spec"]["routes"][0]["services"]
    is_the_service(service, workload)
    transport = made["ServersTransportTCP"]
    assert service["serversTransport"] == transport["metadata"]["name"]
    assert transport["spec"]["proxyProtocol"] == {"version": 2}


def test_envoy_gateway(workload):
    made = documents("envoy-gateway.yaml")
    gateway, route, policy = made["Gateway"], made["TCPRoute"], made["BackendTrafficPolicy"]
    parent, = route["spec"]["parentRefs"]
    assert parent["name"] == gateway["metadata"]["name"]
    assert named(gateway["spec"]["listeners"], parent["sectionName"])["protocol"] == "TCP"
    is_the_service(route["spec"]["rules"][0]["backendRefs"][0], workload)
    target, = policy["spec"]["targetRefs"]
    assert (target["kind"], target["name"]) == ("TCPRoute", route["metadata"]["name"])
    assert policy["spec"]["proxyProtocol"] == {"version": "V2"}


def test_gost():
    service, = yaml.safe_load((EXAMPLES / "gost.yaml").read_text())["services"]
    assert service["addr"] == ":25" and service["forwarder"]["nodes"][0]["addr"] == MAIL
    assert service["handler"]["metadata"] == {"proxyProtocol": 1} and "metadata" not in service


def test_haproxy():
    config = EXAMPLES / "haproxy.cfg"
    assert f" {MAIL} send-proxy-v2 " in config.read_text()
    done = subprocess.run([find("haproxy", "haproxy"), "-c", "-f", config], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nginx(tmp_path):
    """Its test looks up names and opens the listener: both are moved to loopback."""
    program = find("nginx", "nginx")
    text = (EXAMPLES / "nginx.conf").read_text()
    assert text.count(MAIL) == text.count("listen 25;") == text.count("proxy_protocol on;") == 1
    text = text.replace(MAIL, "127.0.0.1:25").replace("listen 25;", f"listen 127.0.0.1:{free_port()};")
    modules = glob.glob("/usr/lib*/nginx/modules/ngx_stream_module.so")
    config = tmp_path / "nginx.conf"
    config.write_text("".join(f"load_module {module};\n" for module in modules[:1]) +
                      f"pid {tmp_path}/nginx.pid; error_log stderr;\n" + text)
    done = subprocess.run([program, "-t", "-c", config, "-p", tmp_path], capture_output=True, text=True, check=False)
    if not modules and "unknown directive \"stream\"" in done.stderr:
        pytest.skip("nginx is without stream (Debian package libnginx-mod-stream)")
    assert done.returncode == 0, done.stderr
