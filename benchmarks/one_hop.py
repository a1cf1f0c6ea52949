"""HAProxy and nginx that apply the routed workloads' rules: one hop, plaintext."""
import routes

HAPROXY_PORT, NGINX_PORT = 18005, 18006
HAPROXY = """global
 nbthread 1
 maxconn 9000
defaults
 mode http
 timeout connect 2s
 timeout client 600s
 timeout server 600s
 option http-keep-alive
 http-reuse always
frontend in
 bind 127.0.0.1:{port} backlog 4096
{rules}
backend refused
 http-request deny deny_status 404
backend out
 server s {server}:{backend} maxconn 10000
"""
NGINX = """user root;
daemon off;
pid {folder}/one-hop.pid;
worker_processes 1;
worker_rlimit_nofile 65536;
error_log stderr;
events {{ worker_connections 16384; }}
http {{
access_log off;
keepalive_requests 100000000;
keepalive_timeout 600s;
upstream out {{
  server {server}:{backend};
  keepalive 256;
  keepalive_requests 100000000;
}}
{maps}
server {{
  listen 127.0.0.1:{port} backlog=4096;
  location / {{ return 404; }}
}}
server {{
  listen 127.0.0.1:{port};
  server_name {authority};
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $host;
{locations}
  location / {{ return 404; }}
}}
}}
"""


def haproxy(server, backend):
    return HAPROXY.format(port=HAPROXY_PORT, rules=routes.haproxy(), server=server, backend=backend)


def nginx(server, backend, folder):
    maps, locations = routes.nginx()
    return NGINX.format(
        port=NGINX_PORT, folder=folder, server=server, backend=backend, maps=maps, locations=locations,
        authority=routes.AUTHORITY)
