"""Runs a handler of Python: asks the Lambda Runtime API for events, and tells it what became of each."""

import http.client
import importlib
import json
import logging
import os
import re
import socket
import sys
import time
import traceback
import urllib.parse

PREFIX = "/2018-06-01/runtime"


class Fault(Exception):
    """What a caller is told, in Lambda's own shape."""

    def __init__(self, kind, message, trace=()):
        super().__init__(message)
        self.kind = kind
        self.trace = list(trace)


class Context:
    """What a handler may ask about its event."""

    def __init__(self, headers):
        environment = os.environ
        self.function_name = environment["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = environment["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = environment["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = environment["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.aws_request_id = headers["lambda-runtime-aws-request-id"]
        self.invoked_function_arn = headers["lambda-runtime-invoked-function-arn"]
        self.client_context = None
        self.identity = None
        self._deadline = int(headers["lambda-runtime-deadline-ms"])

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline - int(time.time() * 1000))


def lead_home():
    """On AWS each API has a name of its own, and may have custom domains. None leads here by itself: they are looked up as the
    gateway that runs here. TLS and `Host` keep the name, by which the gateway tells the API."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI")
    if not endpoint:
        return
    home = urllib.parse.urlsplit(endpoint)
    domains = filter(None, os.environ.get("TIDINGS_DOMAINS", "").split(","))
    own = [name.replace(".", r"\.").replace("*", "[^.]+") + r"(\.localhost)?" for name in domains]
    away = re.compile("|".join([r"[a-z0-9]+\.execute-api\.[a-z0-9-]+\.amazonaws\.com", *own]), re.IGNORECASE)
    original = socket.getaddrinfo

    def getaddrinfo(host, port, *more, **named):
        if isinstance(host, str) and away.fullmatch(host):
            host, port = home.hostname, home.port or 80
        return original(host, port, *more, **named)

    socket.getaddrinfo = getaddrinfo


def call(connection, method, route, body=None):
    connection.request(method, PREFIX + route, body)
    response = connection.getresponse()
    return response.headers, response.read()


def find(handler):
    name, dot, function = handler.rpartition(".")
    if not dot:
        raise Fault("Runtime.MalformedHandlerName", f"Bad handler '{handler}': it must be module.function")
    try:
        module = importlib.import_module(name.replace("/", "."))
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", f"Unable to import module '{name}': {error}") from error
    except SyntaxError as error:
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        raise Fault("Runtime.UserCodeSyntaxError", f"Syntax error in module '{name}': {error}", trace) from error
    if not hasattr(module, function):
        raise Fault("Runtime.HandlerNotFound", f"Handler '{function}' missing on module '{name}'")
    return getattr(module, function)


def shape(error, request_id=""):
    if isinstance(error, Fault):
        kind, trace = error.kind, error.trace
    else:
        # The first place is this file's own.
        kind, trace = type(error).__name__, traceback.format_list(traceback.extract_tb(error.__traceback__)[1:])
    return {"errorMessage": str(error), "errorType": kind, "requestId": request_id, "stackTrace": trace}


def answer(handler, event, context):
    try:
        value = handler(json.loads(event), context)
    except Exception as error:
        return "error", shape(error, context.aws_request_id)
    try:
        return "response", json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        fault = Fault("Runtime.MarshalError", f"Unable to marshal response: {error}")
        return "error", shape(fault, context.aws_request_id)


def serve(connection, handler):
    while True:
        headers, event = call(connection, "GET", "/invocation/next")
        os.environ["_X_AMZN_TRACE_ID"] = headers.get("lambda-runtime-trace-id", "")
        context = Context(headers)
        route, body = answer(handler, event, context)
        if route == "error":
            print("[ERROR] {errorType}: {errorMessage}".format(**body), *body["stackTrace"], sep="\n", file=sys.stderr)
            body = json.dumps(body)
        call(connection, "POST", f"/invocation/{context.aws_request_id}/{route}", body.encode())


def main():
    root = os.environ["LAMBDA_TASK_ROOT"]
    # In the place of this file's own folder, which is first.
    sys.path[0] = root
    lead_home()
    log = logging.StreamHandler(sys.stdout)
    log.setFormatter(logging.Formatter("[%(levelname)s]\t%(message)s"))
    logging.getLogger().addHandler(log)
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        handler = find(os.environ["_HANDLER"])
    except Exception as error:
        said = shape(error)
        print("[ERROR] {errorType}: {errorMessage}".format(**said), *said["stackTrace"], sep="\n", file=sys.stderr)
        call(connection, "POST", "/init/error", json.dumps(said).encode())
        sys.exit(1)
    serve(connection, handler)


main()
