// Azure Web PubSub's official library for servers in JavaScript, unmodified, against a stack: `server.mjs CONNECTION_STRING`.
//
// All calls that it has, with the statuses that it is answered, and what clients of the plain JSON protocol get of them.
// Prints a line for each thing that holds, and ends with 1 at the first that does not.

import assert from 'node:assert/strict';
import { WebPubSubServiceClient } from '@azure/web-pubsub';
import WebSocket from 'ws';

const PATIENCE = 60_000;
const [connectionString] = process.argv.slice(2);
const service = new WebPubSubServiceClient(connectionString, 'Chat', { allowInsecureConnection: true });
const group = service.group('a/b c?');

let status;
const onResponse = (response) => { status = response.status; };
const told = { onResponse };

// The status of a call that is to succeed.
async function done(expected, call) {
  status = undefined;
  const result = await call;
  assert.equal(status, expected);
  return result;
}

// A call that is to be refused.
async function refused(expected, code, call) {
  await assert.rejects(call, (error) => {
    assert.equal(error.name, 'RestError', error.stack);
    assert.equal(error.statusCode, expected, error.message);
    if (code) assert.equal(error.code, code);
    return true;
  });
}

async function until(what, test) {
  const end = Date.now() + PATIENCE;
  while (!(await test())) {
    assert.ok(Date.now() < end, `not within ${PATIENCE} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// A client of the plain protocol, at the address that the library makes.
async function client(options) {
  const { url } = await service.getClientAccessToken(options);
  const socket = new WebSocket(url, 'json.webpubsub.azure.v1');
  const one = { socket, frames: [], closed: false };
  socket.on('message', (data) => one.frames.push(JSON.parse(data)));
  socket.on('close', () => { one.closed = true; });
  await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject));
  await until('it is connected', () => one.frames.some((frame) => frame.event === 'connected'));
  one.id = one.frames.find((frame) => frame.event === 'connected').connectionId;
  one.messages = () => one.frames.filter((frame) => frame.type === 'message');
  one.gets = async (data) => {
    await until(`a message with ${JSON.stringify(data)}`,
      () => one.messages().some((frame) => JSON.stringify(frame.data) === JSON.stringify(data)));
    return one.messages().find((frame) => JSON.stringify(frame.data) === JSON.stringify(data));
  };
  return one;
}

const alice = await client({ userId: 'alice', groups: ['first'] });
const bob = await client({ userId: 'bob/ä?', roles: ['webpubsub.sendToGroups.x*'] });

async function whoIsThereIsSaid() {
  assert.equal(await done(200, service.connectionExists(alice.id, told)), true);
  assert.equal(await done(404, service.connectionExists('nobody', told)), false);
  assert.equal(await done(200, service.userExists('bob/ä?', told)), true);
  assert.equal(await done(404, service.userExists('carol', told)), false);
  assert.equal(await done(200, service.groupExists('first', told)), true);
  assert.equal(await done(404, service.groupExists('First', told)), false);
}

async function membersComeAndGoAtOnce() {
  await done(200, group.addConnection(alice.id, told));
  assert.equal(await service.groupExists('a/b c?'), true);
  await done(200, group.addUser('bob/ä?', told));
  const members = [];
  for await (const member of await group.listConnections({ maxPageSize: 1 })) members.push(member);
  assert.deepEqual(members.map((member) => [member.connectionId, member.userId]).sort(),
    [[alice.id, 'alice'], [bob.id, 'bob/ä?']].sort());
  const first = [];
  for await (const member of await group.listConnections({ top: 1 })) first.push(member);
  assert.equal(first.length, 1);
  await refused(404, 'Error.Connection.NotExisted', group.addConnection('nobody'));
  await refused(404, 'Warning.User.NotExisted', group.addUser('carol'));
  await done(204, group.removeConnection('nobody', told));
}

async function whatIsSentArrivesAsWhatItIs() {
  await done(202, group.sendToAll({ n: 1 }, told));
  const { from, group: name, dataType, data } = await alice.gets({ n: 1 });
  assert.deepEqual({ from, name, dataType, data }, { from: 'group', name: 'a/b c?', dataType: 'json', data: { n: 1 } });
  await bob.gets({ n: 1 });
  await done(202, service.sendToAll('to all', { contentType: 'text/plain', messageTtlSeconds: 60, ...told }));
  for (const one of [alice, bob]) {
    const message = await one.gets('to all');
    assert.deepEqual([message.from, message.dataType], ['server', 'text']);
  }
  await done(202, service.sendToUser('alice', { to: 'alice' }, told));
  await done(202, service.sendToConnection(bob.id, new Uint8Array([1, 2, 3]).buffer, told));
  assert.equal((await alice.gets({ to: 'alice' })).from, 'server');
  assert.equal((await bob.gets('AQID')).dataType, 'binary');
  await done(202, service.sendToUser('carol', { to: 'nobody' }, told));
  await done(202, service.sendToConnection('nobody', { to: 'nobody' }, told));
}

async function whoIsLeftOutOrNotMeantGetsNothing() {
  await done(202, service.sendToAll({ without: 'bob' }, { excludedConnections: [bob.id], ...told }));
  await done(202, group.sendToAll({ without: 'alice' }, { excludedConnections: [alice.id], ...told }));
  await done(202, service.sendToAll({ filtered: 1 }, { filter: "startswith(userId, 'bob') and 'a/b c?' in groups", ...told }));
  await done(202, group.sendToAll({ filtered: 2 }, { filter: "userId eq 'alice'", ...told }));
  await done(202, service.sendToUser('alice', { filtered: 3 }, { filter: 'userId eq null', ...told }));
  await done(202, service.sendToUser('alice', { last: 1 }, told));
  await done(202, service.sendToUser('bob/ä?', { last: 1 }, told));
  await alice.gets({ without: 'bob' });
  await bob.gets({ without: 'alice' });
  await bob.gets({ filtered: 1 });
  const filtered = await alice.gets({ filtered: 2 });
  assert.deepEqual([filtered.from, filtered.group], ['group', 'a/b c?']);
  for (const one of [alice, bob]) await one.gets({ last: 1 });
  const got = (one) => one.messages().map((frame) => JSON.stringify(frame.data));
  for (const data of ['{"without":"alice"}', '{"filtered":1}', '{"filtered":3}']) assert.ok(!got(alice).includes(data), data);
  for (const data of ['{"without":"bob"}', '{"filtered":2}']) assert.ok(!got(bob).includes(data), data);
}

async function aFilterWithAFaultIsToldAsAzureDoes() {
  await assert.rejects(service.sendToAll('x', { contentType: 'text/plain', filter: 'invalid filter' }), (error) => {
    assert.equal(error.statusCode, 400);
    assert.equal(error.message,
      "Invalid syntax for 'invalid filter': Syntax error at position 14 in 'invalid filter'. (Parameter 'filter')");
    return true;
  });
}

async function manyJoinAndLeaveByAFilter() {
  await done(200, service.addConnectionsToGroups(['m1', 'm2'], "userId eq 'alice'", told));
  assert.deepEqual([await service.groupExists('m1'), await service.groupExists('m2')], [true, true]);
  await done(200, service.removeConnectionsFromGroups(['m1'], "'m2' in groups", told));
  assert.deepEqual([await service.groupExists('m1'), await service.groupExists('m2')], [false, true]);
  await done(204, service.removeConnectionFromAllGroups(alice.id, told));
  await done(204, group.removeUser('bob/ä?', told));
  assert.deepEqual([await service.groupExists('m2'), await service.groupExists('first')], [false, false]);
  await group.addUser('bob/ä?');
  await done(204, service.removeUserFromAllGroups('bob/ä?', told));
  assert.equal(await service.groupExists('a/b c?'), false);
  assert.equal(await service.connectionExists(alice.id), true);
}

async function permissionsAreGrantedDeniedAndSaid() {
  const has = (permission, targetName) => service.hasPermission(bob.id, permission, { targetName });
  assert.equal(await done(404, service.hasPermission(bob.id, 'joinLeaveGroup', told)), false);
  await done(200, service.grantPermission(bob.id, 'joinLeaveGroup', { targetName: 'g', ...told }));
  assert.deepEqual([await has('joinLeaveGroup', 'g'), await has('joinLeaveGroup', 'h'), await has('sendToGroup', 'g')],
    [true, false, false]);
  assert.equal(await has('sendToGroup', 'x1'), true);
  await done(204, service.revokePermission(bob.id, 'sendToGroup', { targetName: 'x1', ...told }));
  assert.deepEqual([await has('sendToGroup', 'x1'), await has('sendToGroup', 'x2')], [false, true]);
  await done(200, service.grantPermission(bob.id, 'sendToGroup', told));
  assert.equal(await done(200, service.hasPermission(bob.id, 'sendToGroup', told)), true);
  await refused(404, 'Info.Connection.NotExisted', service.grantPermission('nobody', 'sendToGroup'));
  // What was granted holds for the client.
  bob.socket.send(JSON.stringify({ type: 'joinGroup', group: 'g', ackId: 1 }));
  bob.socket.send(JSON.stringify({ type: 'joinGroup', group: 'h', ackId: 2 }));
  const ack = (id) => bob.frames.find((frame) => frame.type === 'ack' && frame.ackId === id);
  await until('both are answered', () => ack(1) && ack(2));
  assert.equal(ack(1).success, true);
  assert.equal(ack(2).error.name, 'Forbidden');
}

async function clientsAreSentAwayAndToldWhy() {
  await done(204, service.closeConnection(alice.id, { reason: 'enough', ...told }));
  await until('alice is closed', () => alice.closed);
  const farewell = alice.frames.find((frame) => frame.event === 'disconnected');
  assert.deepEqual([farewell.type, farewell.message], ['system', 'enough']);
  await done(204, service.closeConnection('nobody', told));
  assert.equal(await service.connectionExists(alice.id), false);
  const carol = await client({ userId: 'carol', groups: ['party'] });
  const dave = await client({ userId: 'dave', groups: ['party'] });
  await done(204, service.group('party').closeAllConnections({ excluded: [dave.id], excludedConnections: [dave.id], reason: 'over', ...told }));
  await until('carol is closed', () => carol.closed);
  await done(204, service.closeUserConnections('bob/ä?', told));
  await until('bob is closed', () => bob.closed);
  assert.equal(dave.closed, false);
  await done(204, service.closeAllConnections(told));
  await until('dave is closed', () => dave.closed);
}

async function aKeyOfAnotherStackOpensNothing() {
  const other = connectionString.replace(/AccessKey=[^;]*/, `AccessKey=${'x'.repeat(64)}`);
  const foreign = new WebPubSubServiceClient(other, 'chat', { allowInsecureConnection: true });
  await refused(401, undefined, foreign.sendToAll({ n: 1 }));
  await assert.rejects(foreign.groupExists('first'));
}

const checks = [whoIsThereIsSaid, membersComeAndGoAtOnce, whatIsSentArrivesAsWhatItIs, whoIsLeftOutOrNotMeantGetsNothing,
  aFilterWithAFaultIsToldAsAzureDoes, manyJoinAndLeaveByAFilter, permissionsAreGrantedDeniedAndSaid,
  clientsAreSentAwayAndToldWhy, aKeyOfAnotherStackOpensNothing];
for (const check of checks) {
  try {
    await check();
    console.log(`ok ${check.name}`);
  } catch (error) {
    console.log(`not ok ${check.name}: ${error.stack}`);
    process.exit(1);
  }
}
process.exit(0);
