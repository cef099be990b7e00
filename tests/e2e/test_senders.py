# SPDX-License-Identifier: MIT
"""Real senders of the PROXY protocol in front of the test server."""

import glob
import re
import ssl
import subprocess
import sys

import pytest

from harness import (HERE, PATIENCE, connect, environment, find, listener, name, parse, reference,
                     v1)

CLIENT = {"127.0.0.1": "127.1.2.3", "::1": "::1"}  # the balancer's address, its client's
PAYLOAD = bytes(range(256)) * 8

families = pytest.mark.parametrize("host", CLIENT, ids=["inet", "inet6"])


def mapped(client):
    """The client's own name, as a server on [::] reports it."""
    host, port = client.getsockname()[:2]
    return name((host if ":" in host else f"::ffff:{host}", port))


def client_of(balancer_port, host, tls=False):
    client = connect(balancer_port, host, CLIENT[host])
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        client = context.wrap_socket(client, server_hostname="mail.example.org")
    return client


def converse(client, payload):
    """Reads the report and then as much echo as there is payload: a balancer may not pass on EOF."""
    with client:
        client.sendall(payload)
        data = b""
        while b"\n" not in data or len(data.partition(b"\n")[2]) < len(payload):
            more = client.recv(65536)
            assert more, f"closed after {data!r}"
            data += more
        return parse(data)


def check_right(server, front, host, **how):
    with client_of(front, host, **how) as client:
        me = mapped(client)
        answer = converse(client, PAYLOAD)
    assert (answer.accept, answer.peer, answer.payload) == (me, me, PAYLOAD)


def header_seen(server, front, host, **how):
    """Proves the test: without the library the balancer is the client and its header payload."""
    with client_of(front, host, **how) as client:
        me = mapped(client)
        answer = converse(client, PAYLOAD)
    assert answer.accept == answer.peer != me
    assert answer.peer.startswith("inet6 ::ffff:127.0.0.1 ")
    header = reference.parse(answer.payload)
    assert header["outcome"] == "proxy"
    assert name((header["src"], header["sport"])) == me.replace("inet6 ::ffff:", "inet ")
    return header


# ---- HAProxy ----

@pytest.fixture
def haproxy(run, tmp_path):
    """haproxy(server, host, send, bind): its port; the listener is inherited."""
    program = find("haproxy", "haproxy")

    def start(server, host, send, bind=""):
        config = tmp_path / "haproxy.cfg"
        with listener(host) as front:
            config.write_text(f"""
                defaults
                    mode tcp
                    timeout connect {PATIENCE}s
                    timeout client {PATIENCE}s
                    timeout server {PATIENCE}s
                    unique-id-format %[uuid()]
                listen front
                    bind fd@{front.fileno()} {bind}
                    server back 127.0.0.1:{server.port} {send}\n""")
            run([program, "-db", "-f", config], environment(plain=True), [front.fileno()])
            return front.getsockname()[1]
    return start


@pytest.fixture
def certificate(tmp_path):
    openssl = find("openssl", "openssl")
    pem = tmp_path / "front.pem"
    subprocess.run([openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-subj", "/CN=mail.example.org", "-days", "1",
                    "-keyout", tmp_path / "key", "-out", tmp_path / "cert"],
                   check=True, capture_output=True, timeout=PATIENCE)
    pem.write_bytes((tmp_path / "cert").read_bytes() + (tmp_path / "key").read_bytes())
    return pem


@families
@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2"])
def test_haproxy_names_the_client(serve, haproxy, send, host):
    server = serve("loop", "-6")
    check_right(server, haproxy(server, host, send), host)
    assert server.stderr == ""


@families
@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2"])
def test_haproxy_is_the_client_without_the_library(serve, haproxy, send, host):
    server = serve("loop", "-6", plain=True)
    header_seen(server, haproxy(server, host, send), host)


TLVS = "send-proxy-v2-ssl proxy-v2-options crc32c,unique-id,authority"


@families
def test_haproxy_with_tls_and_tlvs_names_the_client(serve, haproxy, certificate, host):
    server = serve("loop", "-6")
    check_right(server, haproxy(server, host, TLVS, f"ssl crt {certificate}"), host, tls=True)


def test_haproxy_really_sends_the_tlvs(serve, haproxy, certificate):
    server = serve("loop", "-6", plain=True)
    front = haproxy(server, "127.0.0.1", TLVS, f"ssl crt {certificate}")
    header = header_seen(server, front, "127.0.0.1", tls=True)
    authority, crc32c, unique_id, tls = 0x02, 0x03, 0x05, 0x20
    assert {kind for kind, _ in header["tlvs"]} >= {authority, crc32c, unique_id, tls}


def test_log_tells_what_haproxy_knows_of_the_client(serve, haproxy, certificate, tmp_path):
    server = serve("loop", "-6", LOG="stderr,info")
    front = haproxy(server, "127.0.0.1", TLVS + ",ssl-cipher,cert-cn",
                    f"ssl crt {certificate} ca-file {tmp_path}/cert verify required alpn h2")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(tmp_path / "cert")
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["h2"])
    with context.wrap_socket(connect(front, "127.0.0.1", "127.1.2.3"), server_hostname="mail.example.org") as client:
        me = "%s:%d" % client.getsockname()
        tls, cipher = client.version(), client.cipher()[0]
        converse(client, b"payload")
    [line] = server.stderr.splitlines()
    assert line.split(": ", 1)[1].startswith(f"client {me} by way of 127.0.0.1:") and f"to 127.0.0.1:{front}" in line
    fields = dict(re.findall(r' ([a-z-]+)="([^"]*)"', line))
    assert len(fields.pop("unique-id")) == 36
    assert fields == {"authority": "mail.example.org", "alpn": "h2", "tls": tls, "cipher": cipher,
                      "verified-cn": "mail.example.org"}


def test_haproxy_checks_do_no_harm(serve, haproxy):
    server = serve("loop", "-6")
    front = haproxy(server, "127.0.0.1", "send-proxy-v2 check inter 10ms")
    for _ in range(20):
        check_right(server, front, "127.0.0.1")


# ---- nginx ----

@pytest.fixture
def nginx(run, tmp_path):
    program = find("nginx", "nginx")
    modules = glob.glob("/usr/lib*/nginx/modules/ngx_stream_module.so")
    version = subprocess.run([program, "-V"], capture_output=True, text=True, timeout=PATIENCE).stderr
    if not modules and "--with-stream " not in version:
        pytest.skip("nginx is without stream (Debian package libnginx-mod-stream)")

    def start(server, host, options=""):
        config = tmp_path / "nginx.conf"
        with listener(host) as front:
            port = front.getsockname()[1]
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            config.write_text(f"""
                {f"load_module {modules[0]};" if modules else ""}
                daemon off; pid {tmp_path}/nginx.pid; error_log stderr;
                events {{ }}
                stream {{ server {{
                    listen {where} {options}; proxy_pass 127.0.0.1:{server.port}; proxy_protocol on;
                }} }}
                """)
            # NGINX is how nginx hands its listeners to its successor: no port to lose
            env = environment(plain=True) | {"NGINX": f"{front.fileno()};"}
            run([program, "-e", "stderr", "-p", tmp_path, "-c", config], env, [front.fileno()])
            return port
    return start


@families
def test_nginx_names_the_client(serve, nginx, host):
    server = serve("loop", "-6")
    check_right(server, nginx(server, host), host)
    assert server.stderr == ""


@families
def test_nginx_is_the_client_without_the_library(serve, nginx, host):
    server = serve("loop", "-6", plain=True)
    header_seen(server, nginx(server, host), host)


REALIP = "proxy_protocol; set_real_ip_from 127.0.0.0/8"
SIX = b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n"


def through_realip(nginx, server):
    with connect(nginx(server, "127.0.0.1", REALIP)) as client:
        client.sendall(SIX)
        return converse(client, PAYLOAD)


def test_nginx_with_realip_mixes_families_which_lenient_takes(serve, nginx):
    server = serve("loop", "-6", LENIENT="mixed-family")
    assert through_realip(nginx, server) == ("inet6 2001:db8::7 56324", "inet6 2001:db8::7 56324", "", PAYLOAD)


def test_nginx_with_realip_mixes_families_which_is_refused(serve, nginx):
    server = serve("loop", "-6")
    with pytest.raises((AssertionError, ConnectionResetError)):
        through_realip(nginx, server)
    assert "PROXY TCP6 2001:db8::7 127.0.0" in server.stderr


# ---- curl and socat ----

def curl(port):
    """The page, and the name of curl's own socket."""
    command = [find("curl", "curl"), "-s", "--max-time", str(PATIENCE), "--noproxy", "*",
               "--haproxy-protocol", "--interface", "127.1.2.3",
               "-w", r"\n%{http_code} %{local_ip} %{local_port}", f"http://127.0.0.1:{port}/"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout
    page, _, end = output.rpartition("\n")
    code, host, own_port = end.split()
    return page, code, name((host, own_port))


def web(run, **variables):
    return run([sys.executable, "-B", HERE / "pyserver.py", "http"], environment(**variables)).listening()


# A relay that adds nothing stands between, so that curl's name comes from its header alone.

def test_curl_names_itself(run, haproxy):
    page, code, me = curl(haproxy(web(run), "127.0.0.1", send=""))
    assert (page, code) == (f"accept={me} peer={me}\n", "200")


def test_curl_is_misunderstood_without_the_library(run, haproxy):
    page, code, _ = curl(haproxy(web(run, plain=True), "127.0.0.1", send=""))
    assert code in ("000", "400") and "accept=" not in page


def socat(server, text):
    command = [find("socat", "socat"), "-t", str(PATIENCE), "-", f"TCP:127.0.0.1:{server.port}"]
    return parse(subprocess.run(command, input=text, capture_output=True, timeout=PATIENCE).stdout)


def test_a_line_written_by_hand_names_the_client(serve):
    answer = socat(serve("loop"), v1() + PAYLOAD)
    assert answer.accept == answer.peer == "inet 203.0.113.7 56324"
    assert answer.payload == PAYLOAD


def test_a_line_written_by_hand_is_payload_without_the_library(serve):
    answer = socat(serve("loop", plain=True), v1() + PAYLOAD)
    assert answer.peer.startswith("inet 127.0.0.1 ")
    assert answer.payload == v1() + PAYLOAD
