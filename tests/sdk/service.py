"""A strict stand-in for the instance metadata services of AWS, Google Cloud and Azure, for tests.

Strict: what the real ones refuse is refused. A request without its token or header gets nothing, a forwarded one neither. Who
came is told on standard output, one JSON object per request; the first line is `ready`.

    service.py ADDRESS PORT [--imdsv1]
"""

import http.server
import ipaddress
import json
import secrets
import socket
import sys
import time
import urllib.parse

ROLE = "node-role"
EXPIRES_IN = 3600


def clock(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "stand-in"
    imdsv1 = False
    tokens = {}

    def answer(self, status, body=b"", kind="text/plain", headers=()):
        if isinstance(body, (dict, list)):
            body, kind = json.dumps(body), "application/json"
        if isinstance(body, str):
            body = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        tell = {"from": self.client_address[0], "method": self.command, "path": self.path, "status": status}
        print(json.dumps(tell), flush=True)

    def log_message(self, *_):
        """Standard error is for what goes wrong."""

    def is_forwarded(self):
        if self.headers.get("X-Forwarded-For") is None:
            return False
        self.answer(403, "forwarded")
        return True

    def do_PUT(self):
        if self.path != "/latest/api/token":
            return self.answer(405)
        if self.is_forwarded():
            return None
        try:
            seconds = int(self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", ""))
        except ValueError:
            return self.answer(400, "no time to live")
        if not 1 <= seconds <= 21600:
            return self.answer(400, "a time to live that is not allowed")
        token = secrets.token_urlsafe(32)
        self.tokens[token] = time.time() + seconds
        return self.answer(200, token, headers=[("X-aws-ec2-metadata-token-ttl-seconds", str(seconds))])

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/" or url.path.startswith("/computeMetadata/"):
            return self.google(url)
        if url.path.lower().startswith("/metadata/"):
            return self.azure(url)
        return self.aws(url)

    def aws(self, url):
        token = self.headers.get("X-aws-ec2-metadata-token")
        if token is None and not self.imdsv1:
            return self.answer(401, "a token is required")
        if token is not None and self.tokens.get(token, 0) < time.time():
            return self.answer(401, "not a token of this service")
        base = "/latest/meta-data/iam/security-credentials/"
        if url.path == base:
            return self.answer(200, ROLE)
        if url.path == base + ROLE:
            return self.answer(200, {
                "Code": "Success",
                "Type": "AWS-HMAC",
                "LastUpdated": clock(0),
                "AccessKeyId": "ASIAOFTHENODE",
                "SecretAccessKey": "secret-of-the-node",
                "Token": "session-of-the-node",
                "Expiration": clock(EXPIRES_IN),
            })
        return self.answer(404)

    def google(self, url):
        flavor = [("Metadata-Flavor", "Google")]
        if self.headers.get("Metadata-Flavor") != "Google":
            return self.answer(403, "without Metadata-Flavor", headers=flavor)
        if self.is_forwarded():
            return None
        account = "/computeMetadata/v1/instance/service-accounts/default/"
        if url.path == "/":
            return self.answer(200, "computeMetadata/\n", headers=flavor)
        if url.path == "/computeMetadata/v1/project/project-id":
            return self.answer(200, "project-of-the-node", headers=flavor)
        if url.path == account:
            info = {"aliases": ["default"], "email": "node@project.example", "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}
            return self.answer(200, info, headers=flavor)
        if url.path == account + "token":
            token = {"access_token": "token-of-the-node", "expires_in": EXPIRES_IN, "token_type": "Bearer"}
            return self.answer(200, token, headers=flavor)
        if url.path == "/computeMetadata/v1/universe/universe-domain":
            return self.answer(200, "googleapis.com", headers=flavor)
        return self.answer(404, headers=flavor)

    def azure(self, url):
        if self.headers.get("Metadata", "").lower() != "true":
            return self.answer(400, {"error": "invalid_request", "error_description": "Required metadata header not specified"})
        if self.is_forwarded():
            return None
        query = urllib.parse.parse_qs(url.query)
        if url.path.lower() != "/metadata/identity/oauth2/token":
            return self.answer(404, {"error": "not_found"})
        if "api-version" not in query or "resource" not in query:
            return self.answer(400, {"error": "invalid_request", "error_description": "api-version and resource are required"})
        return self.answer(200, {
            "access_token": "token-of-the-node",
            "expires_in": str(EXPIRES_IN),
            "expires_on": str(int(time.time()) + EXPIRES_IN),
            "not_before": str(int(time.time())),
            "resource": query["resource"][0],
            "token_type": "Bearer",
        })


def main():
    address, port, *flags = sys.argv[1:]
    Service.imdsv1 = "--imdsv1" in flags

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET

    server = Server((address, int(port)), Service)
    print("ready", flush=True)
    server.serve_forever()


main()
