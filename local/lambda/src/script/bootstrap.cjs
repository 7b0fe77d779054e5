// Runs a handler of Node.js: asks the Lambda Runtime API for events, and tells it what became of each.
'use strict';

const http = require('node:http');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { createRequire } = require('node:module');
const { pathToFileURL } = require('node:url');

const [HOST, PORT] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const ROOT = process.env.LAMBDA_TASK_ROOT;
const send = http.request;
// Sockets that wait in an agent keep no process alive, so an empty event loop can be told.
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

class Fault extends Error {
  constructor(type, message) {
    super(message);
    this.name = type;
  }
}

function call(method, route, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const options = { host: HOST, port: PORT, method, path: `/2018-06-01/runtime${route}`, headers, agent };
    const request = send(options, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => resolve({ headers: response.headers, text: Buffer.concat(parts).toString() }));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

function shape(error) {
  if (!(error instanceof Error) && !(error && error.stack && error.message !== undefined)) {
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  }
  const trace = String(error.stack || '').split('\n');
  return { errorType: error.name, errorMessage: error.message, trace };
}

// On AWS each API has a name of its own, and may have custom domains. None leads here by itself: connections to them are made
// to the gateway that runs here, by whatever they are made. TLS and `Host` keep the name, by which the gateway tells the API.
function leadHome() {
  const endpoint = process.env.AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI;
  if (!endpoint) return;
  const home = new URL(endpoint);
  const domains = (process.env.TIDINGS_DOMAINS || '').split(',').filter(Boolean);
  const own = domains.map((name) => name.replaceAll('.', '\\.').replace('*', '[^.]+') + '(\\.localhost)?');
  const away = new RegExp(`^(${['[a-z0-9]+\\.execute-api\\.[a-z0-9-]+\\.amazonaws\\.com', ...own].join('|')})$`, 'i');
  const there = { host: home.hostname.replace(/^\[|\]$/g, ''), port: home.port || 80 };
  const original = net.Socket.prototype.connect;
  net.Socket.prototype.connect = function connect(...parts) {
    // Node.js itself passes a list that has been put in order, with a mark on it.
    const holder = Array.isArray(parts[0]) ? parts[0] : parts;
    const given = holder[0];
    if (given !== null && typeof given === 'object') {
      if (away.test(given.host)) holder[0] = { ...given, ...there };
    } else if (away.test(holder[1])) {
      holder.splice(0, 2, there);
    }
    return original.apply(this, parts);
  };
}

function locate(handler) {
  const folder = path.dirname(handler);
  const match = /^([^.]*)\.(.+)$/.exec(path.basename(handler));
  if (!match) throw new Fault('Runtime.MalformedHandlerName', `Bad handler '${handler}': it must be file.function`);
  return { module: path.join(folder, match[1]), names: match[2].split('.') };
}

async function load(module) {
  const base = path.resolve(ROOT, module);
  const file = ['', '.js', '.mjs', '.cjs'].map((end) => base + end).find((name) => {
    return fs.existsSync(name) && fs.statSync(name).isFile();
  });
  const require = createRequire(path.join(ROOT, 'bootstrap.js'));
  if (file === undefined) {
    const index = path.join(base, 'index.js');
    if (fs.existsSync(index)) return require(index);
    throw new Fault('Runtime.ImportModuleError', `Error: Cannot find module '${module}'`);
  }
  if (file.endsWith('.mjs')) return import(pathToFileURL(file));
  try {
    return require(file);
  } catch (error) {
    const isModule = error.code === 'ERR_REQUIRE_ESM' || error.code === 'ERR_REQUIRE_ASYNC_MODULE';
    if (isModule) return import(pathToFileURL(file));
    throw error;
  }
}

async function find(name) {
  const { module, names } = locate(name);
  let found;
  try {
    found = await load(module);
  } catch (error) {
    if (error instanceof Fault) throw error;
    const isMissing = error && ['MODULE_NOT_FOUND', 'ERR_MODULE_NOT_FOUND'].includes(error.code);
    const type = isMissing ? 'Runtime.ImportModuleError' : 'Runtime.UserCodeSyntaxError';
    if (!isMissing && !(error instanceof SyntaxError)) throw error;
    const fault = new Fault(type, String(error));
    fault.stack = error.stack;
    throw fault;
  }
  const inside = (from) => names.reduce((value, key) => (value == null ? value : value[key]), from);
  const handler = inside(found) ?? inside(found.default);
  if (handler == null) throw new Fault('Runtime.HandlerNotFound', `${name} is undefined or not exported`);
  if (typeof handler !== 'function') throw new Fault('Runtime.HandlerNotFound', `${name} is not a function`);
  return handler;
}

function contextOf(headers) {
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
  };
}

function invoke(handler, event, context) {
  return new Promise((resolve, reject) => {
    const empty = () => resolve(null);
    const end = (finish) => {
      process.removeListener('beforeExit', empty);
      if (context.callbackWaitsForEmptyEventLoop) process.once('beforeExit', finish);
      else finish();
    };
    const callback = (error, result) => end(() => (error ? reject(error) : resolve(result)));
    const now = (error, result) => {
      context.callbackWaitsForEmptyEventLoop = false;
      callback(error, result);
    };
    context.done = now;
    context.succeed = (result) => now(null, result);
    context.fail = (error) => now(error ?? 'handled');
    process.once('beforeExit', empty);
    const result = handler(event, context, callback);
    const isPromise = result && typeof result.then === 'function';
    if (isPromise) {
      const settled = () => process.removeListener('beforeExit', empty);
      result.then((value) => (settled(), resolve(value)), (error) => (settled(), reject(error)));
    }
  });
}

let current;

async function serve(handler) {
  for (;;) {
    const next = await call('GET', '/invocation/next');
    current = next.headers['lambda-runtime-aws-request-id'];
    process.env._X_AMZN_TRACE_ID = next.headers['lambda-runtime-trace-id'];
    let route = 'response';
    let body;
    try {
      const value = await invoke(handler, JSON.parse(next.text), contextOf(next.headers));
      body = JSON.stringify(value === undefined ? null : value);
    } catch (error) {
      route = 'error';
      body = JSON.stringify(shape(error));
      console.error(`Invoke Error\t${body}`);
    }
    const id = current;
    current = undefined;
    await call('POST', `/invocation/${id}/${route}`, body);
  }
}

async function collapse(error, type, status) {
  const said = shape(error);
  if (type) Object.assign(said, { errorType: type, errorMessage: String(error) });
  console.error(`Uncaught Exception\t${JSON.stringify(said)}`);
  const route = current === undefined ? undefined : `/invocation/${current}/error`;
  current = undefined;
  if (route) await call('POST', route, JSON.stringify(said), { 'tidings-exits': 'true' }).catch(() => {});
  process.exit(status);
}

async function main() {
  let handler;
  try {
    leadHome();
    handler = await find(process.env._HANDLER);
  } catch (error) {
    console.error((error && error.stack) || String(error));
    await call('POST', '/init/error', JSON.stringify(shape(error)));
    process.exit(1);
  }
  process.on('uncaughtException', (error) => collapse(error, undefined, 129));
  process.on('unhandledRejection', (error) => collapse(error, 'Runtime.UnhandledPromiseRejection', 128));
  await serve(handler);
}

main();
