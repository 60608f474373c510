"""Asks for credentials as an application does, with a cloud's own library: `client.py aws|aws-v1|google|azure`.

Prints one JSON object: `{"credentials": ...}`, or `{"error": CLASS, "message": ...}`.
"""

import json
import os
import sys
import urllib.request


def aws():
    import boto3

    found = boto3.Session(region_name="eu-central-1").get_credentials()
    if found is None:
        # What an application sees at its first call.
        import botocore.exceptions

        raise botocore.exceptions.NoCredentialsError()
    return found.get_frozen_credentials().access_key


def aws_v1():
    """A client from before tokens."""
    base = "http://169.254.169.254/latest/meta-data/iam/security-credentials/"
    # No proxy stands between a pod and its node.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    role = opener.open(base, timeout=5).read().decode()
    return json.loads(opener.open(base + role, timeout=5).read())["AccessKeyId"]


def google():
    # There is no resolver here: the name that it would ask for is this address.
    os.environ.setdefault("GCE_METADATA_HOST", "169.254.169.254")
    import google.auth
    import google.auth.transport.requests

    credentials, project = google.auth.default()
    credentials.refresh(google.auth.transport.requests.Request())
    return f"{project} {credentials.token}"


def azure():
    from azure.identity import ManagedIdentityCredential

    return ManagedIdentityCredential().get_token("https://management.azure.com/.default").token


def main():
    ask = {"aws": aws, "aws-v1": aws_v1, "google": google, "azure": azure}[sys.argv[1]]
    try:
        told = {"credentials": ask()}
    except Exception as error:  # Whatever an application would see.
        told = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(told))


main()
