// Runs a handler against the Runtime API, as Lambda's own runtime interface client does: node runtime.mjs FUNCTION
// It does less than that client, so it favours Node.js.
import http from 'node:http';
import { pathToFileURL } from 'node:url';

const api = process.env.AWS_LAMBDA_RUNTIME_API;
const [host, port] = api.split(':');
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

const call = (method, path, body) => new Promise((resolve, reject) => {
  const request = http.request({ host, port, method, path: `/2018-06-01/runtime/${path}`, agent }, (answer) => {
    const chunks = [];
    answer.on('data', (chunk) => chunks.push(chunk));
    answer.on('end', () => resolve({ headers: answer.headers, body: Buffer.concat(chunks) }));
  });
  request.on('error', reject);
  request.end(body);
});

const { handler } = await import(pathToFileURL(process.argv[2]));
for (;;) {
  const { headers, body } = await call('GET', 'invocation/next');
  const id = headers['lambda-runtime-aws-request-id'];
  try {
    const answer = await handler(JSON.parse(body), { awsRequestId: id });
    await call('POST', `invocation/${id}/response`, JSON.stringify(answer));
  } catch (error) {
    const reason = { errorType: error.name, errorMessage: String(error.stack) };
    await call('POST', `invocation/${id}/error`, JSON.stringify(reason));
  }
}
