// Azure Web PubSub's official library for JavaScript, unmodified, against a stack: `node webpubsub.mjs URL KEY SECRET CONTROL`.
// Prints a line for each thing that holds, and ends with 1 at the first that does not. CONTROL/cut cuts all sockets, and what
// is posted to CONTROL/notify is a notification. SECRET is what tokens of our own clients are signed with.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { WebPubSubClient, WebPubSubJsonProtocol } from '@azure/web-pubsub-client';
import WebSocket from 'ws';

const [url, key, secret, control] = process.argv.slice(2);
const PATIENCE = 60_000;
const HUB = 'Chat';
const ALL = ['webpubsub.sendToGroup', 'webpubsub.joinLeaveGroup'];

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const seconds = (more) => Math.floor(Date.now() / 1000) + more;

function signed(by, claims) {
  const body = `${base64({ alg: 'HS256', typ: 'JWT' })}.${base64(claims)}`;
  return `${body}.${createHmac('sha256', by).update(body).digest('base64url')}`;
}

/** A token as the official library for servers makes it. */
function token(sub, role = ALL, more = {}) {
  const aud = `http://localhost:8080/client/hubs/${HUB}`;
  return signed(key, { role, iat: seconds(0), exp: seconds(600), aud, sub, ...more });
}

const address = (of, hub = HUB) => `${url}?hub=${hub}&access_token=${of}`;

async function until(what, test) {
  const end = Date.now() + PATIENCE;
  while (!(await test())) {
    assert.ok(Date.now() < end, `not within ${PATIENCE} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A client that has started, and what came to it. */
async function started(of, options = {}) {
  const client = new WebPubSubClient(address(of), { messageRetryOptions: { maxRetries: 1 }, ...options });
  const came = { connected: [], group: [], server: [], rejoinFailed: 0 };
  client.on('connected', (event) => came.connected.push(event));
  client.on('group-message', ({ message }) => came.group.push(message));
  client.on('server-message', ({ message }) => came.server.push(message));
  client.on('rejoin-group-failed', () => (came.rejoinFailed += 1));
  await client.start();
  return { client, came };
}

async function connected(of, options) {
  const made = await started(of, options);
  await until('connected', () => made.came.connected.length > 0);
  return made;
}

async function refused(of, hub) {
  const client = new WebPubSubClient(address(of, hub), { autoReconnect: false });
  await assert.rejects(client.start());
}

/** What becomes of a plain WebSocket: the status of its handshake, or 101. */
const handshake = (to, protocols) =>
  new Promise((resolve) => {
    const socket = new WebSocket(to, protocols);
    socket.on('open', () => resolve(101) ?? socket.close());
    socket.on('unexpected-response', (_, response) => resolve(response.statusCode));
    socket.on('error', () => {});
  });

const notify = async (body) =>
  assert.equal((await fetch(`${control}/notify`, { method: 'POST', body: JSON.stringify(body) })).status, 200);

const datas = (messages) => messages.map((message) => message.data);

const checks = {
  async 'is told its connection and its user, in either protocol'() {
    for (const protocol of [undefined, WebPubSubJsonProtocol()]) {
      const { client, came } = await connected(token('u1'), protocol ? { protocol } : {});
      assert.equal(came.connected[0].userId, 'u1');
      assert.match(came.connected[0].connectionId, /./);
      client.stop();
    }
  },

  async 'joins, gets what others send of each type, is spared its own, and leaves'() {
    const { client: one, came } = await connected(token('u1'));
    const { client: other, came: witness } = await connected(token('u2'));
    await one.joinGroup('g1');
    await other.joinGroup('g1');
    await other.sendToGroup('g1', { a: 1 }, 'json');
    await until('JSON', () => came.group.length >= 1);
    const { group, fromUserId, dataType, data } = came.group[0];
    assert.deepEqual([group, fromUserId, dataType, data], ['g1', 'u2', 'json', { a: 1 }]);
    await other.sendToGroup('g1', 'hi', 'text');
    // An ack says that a message is on the queue, where the next one could overtake it.
    await until('text', () => came.group.length >= 2);
    await other.sendToGroup('g1', new Uint8Array([1, 2, 3]).buffer, 'binary');
    await until('bytes', () => came.group.length >= 3);
    assert.equal(came.group[1].data, 'hi');
    assert.deepEqual([...new Uint8Array(came.group[2].data)], [1, 2, 3]);
    await one.sendToGroup('g1', 'not to me', 'text', { noEcho: true });
    await one.sendToGroup('g1', 'to me', 'text');
    await until('the echo', () => came.group.length >= 4);
    assert.equal(came.group[3].data, 'to me');
    await one.leaveGroup('g1');
    await other.sendToGroup('g1', 'too late', 'text');
    // An ack says that a message is on the queue: it is for those who are there when it is taken up.
    await until('a witness', () => datas(witness.group).includes('too late'));
    await one.joinGroup('g1');
    await other.sendToGroup('g1', 'in time', 'text');
    await until('the last', () => came.group.length >= 5);
    assert.equal(came.group[4].data, 'in time');
    one.stop();
    other.stop();
  },

  async 'groups of its token are its own from the beginning, and roles say what else is'() {
    const role = ['webpubsub.joinLeaveGroups.room.*', 'webpubsub.sendToGroup.g2'];
    const { client, came } = await connected(token('u1', role, { 'webpubsub.group': ['g2'] }));
    await client.sendToGroup('g2', 1, 'json');
    await until('its own', () => came.group.length >= 1);
    await client.joinGroup('room.a');
    const forbidden = (error) => error.errorDetail?.name === 'Forbidden';
    await assert.rejects(client.joinGroup('room.a.b'), forbidden);
    await assert.rejects(client.joinGroup('g2x'), forbidden);
    await assert.rejects(client.sendToGroup('room.a', 1, 'json'), forbidden);
    const { client: nobody } = await connected(token(undefined, []));
    await assert.rejects(nobody.joinGroup('g2'), forbidden);
    assert.equal((await connected(token('u3'))).came.connected.length, 1);
    client.stop();
    nobody.stop();
  },

  async 'an event that nothing handles is an error, and the client stays connected'() {
    const { client } = await connected(token('u1'));
    await assert.rejects(client.sendEvent('ev', 1, 'json'), (error) => error.errorDetail?.name === 'InternalServerError');
    await client.joinGroup('g1');
    client.stop();
  },

  async 'what is sent again under its number is done once, and told so'() {
    const { client, came } = await connected(token('u1'));
    await client.joinGroup('once');
    const ackId = 2 ** 40;
    assert.equal((await client.sendToGroup('once', 'a', 'text', { ackId })).isDuplicated, false);
    assert.equal((await client.sendToGroup('once', 'a', 'text', { ackId })).isDuplicated, true);
    await until('the first', () => came.group.length >= 1);
    await client.sendToGroup('once', 'b', 'text');
    await until('the last', () => datas(came.group).includes('b'));
    assert.deepEqual(datas(came.group), ['a', 'b']);
    client.stop();
  },

  async 'servers reach its user, its connection and its hub, and no other hub'() {
    const { client, came } = await connected(token('u4'));
    const elsewhere = new WebPubSubClient(
      address(token('u5', ALL, { aud: 'https://example.com/prod/client/hubs/other' }), 'other'),
    );
    const there = [];
    elsewhere.on('server-message', ({ message }) => there.push(message.data));
    await elsewhere.start();
    await notify({ to: { user: 'u4' }, data: 'user', dataType: 'text' });
    await notify({ to: { connection: came.connected[0].connectionId }, data: 'connection', dataType: 'text' });
    await notify({ to: { topic: 'chat' }, data: 'hub', dataType: 'text' });
    await notify({ to: { topic: 'other' }, data: 'other hub', dataType: 'text' });
    await until('three messages', () => came.server.length >= 3);
    await until('one elsewhere', () => there.length >= 1);
    assert.deepEqual(datas(came.server).sort(), ['connection', 'hub', 'user']);
    assert.deepEqual(there, ['other hub']);
    client.stop();
    elsewhere.stop();
  },

  async 'joins and leaves that are sent at once end as the last one says'() {
    for (let round = 0; round < 5; round += 1) {
      const { client: one, came } = await connected(token('u1'));
      const { client: other, came: witness } = await connected(token('u2'));
      const group = `race-${round}`;
      await other.joinGroup(group);
      await Promise.all([one.joinGroup(group), one.leaveGroup(group), one.joinGroup(group)]);
      await other.sendToGroup(group, 'in', 'text');
      await until('a message', () => came.group.length >= 1);
      await Promise.all([one.leaveGroup(group), one.joinGroup(group), one.leaveGroup(group)]);
      await other.sendToGroup(group, 'out', 'text');
      await until('a witness', () => datas(witness.group).includes('out'));
      await one.joinGroup(group);
      await other.sendToGroup(group, 'in again', 'text');
      await until('another', () => came.group.length >= 2);
      assert.deepEqual(datas(came.group), ['in', 'in again']);
      one.stop();
      other.stop();
    }
  },

  async 'comes back after a cut as another connection, and is in its groups again'() {
    const { client: one, came } = await connected(token('u1'));
    await one.joinGroup('cut');
    await fetch(`${control}/cut`);
    await until('connected again', () => came.connected.length >= 2);
    assert.notEqual(came.connected[0].connectionId, came.connected[1].connectionId);
    const { client: other } = await connected(token('u2'));
    await until('a message', async () => {
      await other.sendToGroup('cut', 'again', 'text');
      await new Promise((resolve) => setTimeout(resolve, 200));
      return came.group.length > 0;
    });
    assert.equal(came.rejoinFailed, 0);
    one.stop();
    other.stop();
  },

  async 'forged, expired and foreign tokens open nothing, and its own open nothing else'() {
    await refused(`${token('u1').slice(0, -4)}AAAA`);
    await refused(token('u1', ALL, { exp: seconds(-600) }));
    await refused(token('u1', ALL, { exp: undefined }));
    await refused(token('u1', ALL, { nbf: seconds(600) }));
    await refused(token('u1'), 'other');
    await refused(token('u1', ALL, { aud: `http://localhost/api/hubs/${HUB}/:send` }));
    await refused(token('u1', ALL, { aud: undefined }));
    await refused(token('u1', ALL, { 'webpubsub.group': [' '] }));
    const ours = { sub: 'u1', exp: seconds(600), permissions: 'subscribe:**', aud: `http://x/client/hubs/${HUB}` };
    await refused(signed(secret, ours));
    await refused('');
    const json = 'json.webpubsub.azure.v1';
    assert.equal(await handshake(`${url}?hub=${HUB}`, json), 403, 'nobody gets in without a token');
    assert.equal(await handshake(`${url}?access_token=${token('u1')}`, 'tidings.v1.json'), 403);
    assert.equal(await handshake(`${url}?protocol=centrifuge&access_token=${token('u1')}`), 403);
    assert.equal(await handshake(address(token('u1')), 'protobuf.webpubsub.azure.v1'), 403);
    assert.equal(await handshake(address(token('u1')), json), 101);
  },

  async 'what is no command ends the connection with a reason, and a ping is answered'() {
    for (const frame of ['x', '{}', '{"action":"subscribe","topic":"a"}', '{"type":"sendToGroup","group":"g1"}']) {
      const socket = new WebSocket(address(token('u1')), 'json.webpubsub.azure.v1');
      const frames = [];
      let isClosed = false;
      socket.on('message', (data) => frames.push(JSON.parse(data)));
      socket.on('close', () => (isClosed = true));
      await until('connected', () => frames.length > 0);
      assert.equal(frames[0].event, 'connected');
      socket.send('{"type":"ping"}');
      await until('a pong', () => frames.length > 1);
      assert.deepEqual(frames[1], { type: 'pong' });
      socket.send(frame);
      await until('the end', () => isClosed);
      assert.equal(frames.length, 3, frame);
      assert.deepEqual([frames[2].type, frames[2].event], ['system', 'disconnected'], frame);
    }
  },
};

const chosen = process.argv[6];
let done = 0;
for (const [name, check] of Object.entries(checks)) {
  if (chosen && !name.includes(chosen)) continue;
  done += 1;
  try {
    await check();
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`not ok ${name}: ${error.stack}`);
    process.exit(1);
  }
}
process.exit(done > 0 ? 0 : 1);
