// The same chat for the CDK. `logRetention` brings a function of a custom resource.
const { App, Duration, Stack } = require('aws-cdk-lib');
const { WebSocketApi, WebSocketStage } = require('aws-cdk-lib/aws-apigatewayv2');
const { WebSocketLambdaIntegration } = require('aws-cdk-lib/aws-apigatewayv2-integrations');
const { Code, Function, Runtime } = require('aws-cdk-lib/aws-lambda');
const { RetentionDays } = require('aws-cdk-lib/aws-logs');

const app = new App({ outdir: `${__dirname}/cdk.out` });
const stack = new Stack(app, 'Chat');
const chat = new Function(stack, 'Function', {
  code: Code.fromAsset(__dirname, { exclude: ['*', '!chat.js'] }),
  environment: { TOOL: 'cdk' },
  handler: 'chat.handler',
  logRetention: RetentionDays.ONE_DAY,
  runtime: Runtime.NODEJS_20_X,
  timeout: Duration.seconds(60),
});
const options = (id) => ({ integration: new WebSocketLambdaIntegration(id, chat) });
const webSocketApi = new WebSocketApi(stack, 'Api', {
  connectRouteOptions: options('OnConnect'),
  defaultRouteOptions: options('OnMessage'),
  disconnectRouteOptions: options('OnDisconnect'),
});
new WebSocketStage(stack, 'Stage', { webSocketApi, stageName: 'dev', autoDeploy: true });
app.synth();
