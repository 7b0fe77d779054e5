// Azure Web PubSub's official library for JavaScript, unmodified, against a stack that keeps what its clients miss:
// `node webpubsub_reliable.mjs URL KEY SECRET CONTROL reliable`. Prints a line for each thing that holds, and ends with 1 at the first
// that does not. CONTROL/cut cuts all sockets, CONTROL/away lets nobody in either until CONTROL/back, and what is posted to
// CONTROL/notify is a notification.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { WebPubSubClient, WebPubSubJsonProtocol } from '@azure/web-pubsub-client';
import WebSocket from 'ws';

const [url, key, , control] = process.argv.slice(2);
const PATIENCE = 60_000;
const RELIABLE = 'json.reliable.webpubsub.azure.v1';

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const seconds = (more) => Math.floor(Date.now() / 1000) + more;
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function token(sub, more = {}) {
  const role = ['webpubsub.sendToGroup', 'webpubsub.joinLeaveGroup'];
  const claims = { role, exp: seconds(600), aud: 'http://localhost/client/hubs/chat', sub, ...more };
  const body = `${base64({ alg: 'HS256', typ: 'JWT' })}.${base64(claims)}`;
  return `${body}.${createHmac('sha256', key).update(body).digest('base64url')}`;
}

const address = (of) => `${url}?hub=chat&access_token=${of}`;
const back = (id, by, of = token('u1')) => `${address(of)}&awps_connection_id=${id}&awps_reconnection_token=${by}`;

async function until(what, test) {
  const end = Date.now() + PATIENCE;
  while (!(await test())) {
    assert.ok(Date.now() < end, `not within ${PATIENCE} ms: ${what}`);
    await pause(20);
  }
}

/** A client that is connected, and what came to it. */
async function connected(user, options = {}) {
  const client = new WebPubSubClient(address(token(user)), options);
  const came = { connected: [], disconnected: 0, group: [], server: [] };
  client.on('connected', (event) => came.connected.push(event));
  client.on('disconnected', () => (came.disconnected += 1));
  client.on('group-message', ({ message }) => came.group.push(message));
  client.on('server-message', ({ message }) => came.server.push(message));
  await client.start();
  await until('connected', () => came.connected.length > 0);
  return { client, came };
}

/** A plain WebSocket of the reliable subprotocol, and its frames. */
async function plain(to, protocol = RELIABLE) {
  const socket = new WebSocket(to, protocol);
  const got = { socket, frames: [], status: 101, isClosed: false };
  socket.on('message', (data) => got.frames.push(JSON.parse(data)));
  socket.on('close', () => (got.isClosed = true));
  socket.on('error', () => {});
  await new Promise((resolve) => {
    socket.on('open', resolve);
    socket.on('unexpected-response', (_, response) => resolve((got.status = response.statusCode)));
  });
  return got;
}

async function started(user) {
  const got = await plain(address(token(user)));
  await until('connected', () => got.frames.length > 0);
  return got;
}

const notify = async (body) =>
  assert.equal((await fetch(`${control}/notify`, { method: 'POST', body: JSON.stringify(body) })).status, 200);

const say = (user, data) => notify({ to: { user }, data, dataType: 'text' });
const datas = (messages) => messages.map((message) => message.data);
const numbers = (frames) => frames.map((frame) => frame.sequenceId).filter((number) => number !== undefined);

const checks = {
  async 'recovers after a cut: the same connection, in its groups, with nothing missed and nothing twice'() {
    const { client, came } = await connected('u1');
    await client.joinGroup('g1');
    await say('u1', 'before');
    await until('before', () => came.server.length === 1);
    for (let round = 0; round < 3; round += 1) {
      await fetch(`${control}/away`);
      await say('u1', `away ${round}`);
      await notify({ to: { topic: 'chat/g1' }, data: `group ${round}`, dataType: 'text' });
      await fetch(`${control}/back`);
      await until('what came meanwhile', () => came.server.length === 2 + round && came.group.length === 1 + round);
    }
    await client.sendToGroup('g1', 'own', 'text');
    await until('its own', () => came.group.length === 4);
    assert.deepEqual(datas(came.server), ['before', 'away 0', 'away 1', 'away 2']);
    assert.deepEqual(datas(came.group), ['group 0', 'group 1', 'group 2', 'own']);
    assert.deepEqual([came.connected.length, came.disconnected], [1, 0], 'the application knows of nothing');
    client.stop();
  },

  async 'what is done once is done once, over a recovery too'() {
    const { client, came } = await connected('u1');
    await client.joinGroup('once');
    assert.equal((await client.sendToGroup('once', 'a', 'text', { ackId: 900 })).isDuplicated, false);
    await fetch(`${control}/cut`);
    assert.equal((await client.sendToGroup('once', 'a', 'text', { ackId: 900 })).isDuplicated, true);
    await client.sendToGroup('once', 'b', 'text');
    await until('the last', () => datas(came.group).includes('b'));
    assert.deepEqual(datas(came.group), ['a', 'b']);
    client.stop();
  },

  async 'numbers rise from 1, and what is not confirmed comes again under its number'() {
    const one = await started('u2');
    const { connectionId, reconnectionToken } = one.frames[0];
    for (const data of ['a', 'b', 'c']) await say('u2', data);
    await until('three', () => one.frames.length === 4);
    assert.deepEqual(numbers(one.frames), [1, 2, 3]);
    one.socket.send(JSON.stringify({ type: 'sequenceAck', sequenceId: 2 }));
    one.socket.send(JSON.stringify({ type: 'joinGroup', group: 'g2', ackId: 1 }));
    await until('an ack', () => one.frames.some((frame) => frame.type === 'ack'));
    await pause(500);
    one.socket.terminate();
    await say('u2', 'd');
    // No token but the one that it was given.
    const expired = token('u2', { exp: seconds(-900) });
    const two = await plain(back(connectionId, reconnectionToken, expired));
    assert.equal(two.status, 101);
    await until('the rest', () => numbers(two.frames).length === 2);
    assert.deepEqual(numbers(two.frames), [3, 4]);
    await notify({ to: { topic: 'chat/g2' }, data: 'e', dataType: 'text' });
    await until('its group', () => numbers(two.frames).length === 3);
    assert.deepEqual(two.frames.at(-1).sequenceId, 5);
    // A socket that is still open is closed for the next.
    const three = await plain(back(connectionId, reconnectionToken));
    await until('the end of the old one', () => two.isClosed);
    await until('all again', () => numbers(three.frames).length === 3);
    assert.deepEqual(numbers(three.frames), [3, 4, 5]);
    three.socket.close(1000);
  },

  async 'nobody recovers what is not theirs, and tokens are good for one thing'() {
    const [one, other] = [await started('u3'), await started('u4')];
    const [mine, theirs] = [one.frames[0], other.frames[0]];
    const forged = `${mine.reconnectionToken.slice(0, -4)}AAAA`;
    for (const [id, by] of [
      [mine.connectionId, forged],
      [theirs.connectionId, mine.reconnectionToken],
      [mine.connectionId, token('u3')],
      [mine.connectionId, ''],
      ['', mine.reconnectionToken],
    ]) {
      assert.equal((await plain(back(id, by))).status, 403, `${id} by ${by}`);
    }
    assert.equal((await plain(address(mine.reconnectionToken))).status, 403, 'it opens no new connection');
    const json = 'json.webpubsub.azure.v1';
    assert.equal((await plain(`${url}?hub=chat&awps_connection_id=${mine.connectionId}&awps_reconnection_token=${mine.reconnectionToken}`, json)).status, 403);
    await say('u3', 'still there');
    await until('a message', () => numbers(one.frames).length === 1);
    one.socket.close(1000);
    other.socket.close(1000);
  },

  async 'who closes its connection ends it, and is told so where it comes back'() {
    const one = await started('u5');
    const { connectionId, reconnectionToken } = one.frames[0];
    one.socket.close(1000);
    await until('the end', () => one.isClosed);
    await pause(1000);
    const two = await plain(back(connectionId, reconnectionToken));
    assert.equal(two.status, 101);
    await until('the end', () => two.isClosed);
    assert.deepEqual(two.frames.map((frame) => frame.event), ['disconnected', 'connected']);
    assert.equal(two.frames[1].reconnectionToken, undefined, 'its library begins anew');
  },

  async 'the subprotocol without recovery is what it is elsewhere'() {
    const { client, came } = await connected('u6', { protocol: WebPubSubJsonProtocol() });
    await say('u6', 'a');
    await until('a message', () => came.server.length === 1);
    assert.equal(came.server[0].sequenceId, undefined);
    await fetch(`${control}/cut`);
    await until('connected again', () => came.connected.length === 2);
    assert.notEqual(came.connected[0].connectionId, came.connected[1].connectionId);
    client.stop();
  },
};

const chosen = process.argv[7];
for (const [name, check] of Object.entries(checks)) {
  if (chosen && !name.includes(chosen)) continue;
  try {
    await check();
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`not ok ${name}: ${error.stack}`);
    process.exit(1);
  }
}
process.exit(0);
