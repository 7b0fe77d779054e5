"""Make the API of gateway.yaml on ministack, with the function in echo.mjs, and print the path at which it is served.

    python deploy.py ADDRESS
"""

import io
import sys
import zipfile
from pathlib import Path

import botocore.session

REGION = "us-east-1"
STAGE = "dev"


def main():
    address, = sys.argv[1:]
    session = botocore.session.Session()
    session.set_credentials("test", "test")
    functions, apis = (
        session.create_client(service, region_name=REGION, endpoint_url=address) for service in ("lambda", "apigatewayv2")
    )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.write(Path(__file__).with_name("echo.mjs"), "echo.mjs")
    echo = functions.create_function(
        FunctionName="echo",
        Runtime="nodejs20.x",
        Handler="echo.handler",
        Role="arn:aws:iam::000000000000:role/echo",
        Code={"ZipFile": archive.getvalue()},
    )
    api = apis.create_api(
        Name="bench", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action"
    )["ApiId"]
    uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{echo['FunctionArn']}/invocations"
    integration = apis.create_integration(ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=uri)["IntegrationId"]
    for key in ("$connect", "$default"):
        apis.create_route(ApiId=api, RouteKey=key, Target=f"integrations/{integration}")
    apis.create_stage(ApiId=api, StageName=STAGE, AutoDeploy=True)
    print(f"/_aws/execute-api/{api}/{STAGE}")


if __name__ == "__main__":
    main()
