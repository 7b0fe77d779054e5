// Many clients of Centrifugo's official library for JavaScript, unmodified: `node many.mjs URL SECRET COUNT FIRST CHANNELS`.
//
// Each is subscribed to two channels. `subscribed` is said once all are; a line of standard input says where each channel ends;
// then each client waits until it has all of it, and a line of JSON says what came. An offset that is not the next one is wrong.
import { createInterface } from 'node:readline';
import { createHmac } from 'node:crypto';
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

const [url, secret] = process.argv.slice(2, 4);
const [count, first, channels] = process.argv.slice(4).map(Number);
const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

function token(sub) {
  const claims = { sub, permissions: 'subscribe:room/*', exp: Math.floor(Date.now() / 1000) + 3600 };
  const body = `${base64({ alg: 'HS256', typ: 'JWT' })}.${base64(claims)}`;
  return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
}

const last = new Map();
const report = { received: 0, subscribed: 0, failures: [] };

function follow(client, number, channel) {
  const key = `${number} room/${channel}`;
  last.set(key, 0);
  const subscription = client.newSubscription(`room/${channel}`);
  const ready = new Promise((resolve) => subscription.on('subscribed', resolve));
  subscription.on('subscribed', ({ wasRecovering, recovered }) => {
    report.subscribed += 1;
    if (wasRecovering && !recovered) report.failures.push(`${key} is not recovered`);
  });
  subscription.on('unsubscribed', ({ code, reason }) => report.failures.push(`${key} is unsubscribed: ${code} ${reason}`));
  subscription.on('publication', ({ offset }) => {
    if (offset !== last.get(key) + 1) report.failures.push(`${key}: ${offset} after ${last.get(key)}`);
    last.set(key, offset);
    report.received += 1;
  });
  subscription.subscribe();
  return ready;
}

const ready = Array.from({ length: count }, (_, index) => first + index).flatMap((number) => {
  const options = { token: token(`js${number}`), websocket: WebSocket };
  const client = new Centrifuge(url, options);
  client.on('disconnected', ({ code, reason }) => report.failures.push(`${number} is disconnected: ${code} ${reason}`));
  client.connect();
  return [number % channels, (number + 3) % channels].map((channel) => follow(client, number, channel));
});
await Promise.all(ready);
console.log('subscribed');

const [line] = await new Promise((resolve) => createInterface(process.stdin).once('line', (line) => resolve([line])));
const ends = JSON.parse(line);
const lacking = () => [...last].filter(([key, offset]) => offset < ends[key.split(' ')[1]]);
for (const end = Date.now() + 120_000; lacking().length > 0 && Date.now() < end; ) {
  await new Promise((resolve) => setTimeout(resolve, 50));
}
for (const [key, offset] of lacking()) report.failures.push(`${key} ends at ${offset}`);
console.log(JSON.stringify(report));
process.exit(0);
