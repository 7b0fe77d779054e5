// Centrifugo's official library for JavaScript, unmodified, against a stack: `node centrifuge.mjs URL SECRET`.
// Prints a line for each thing that holds, and ends with 1 at the first that does not.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

const [url, secret, , api, key] = process.argv.slice(2);
// A machine may be busy: what is too slow for the library's own five seconds would begin all over again.
const PATIENCE = 60_000;

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

function token(claims) {
  const body = `${base64({ alg: 'HS256', typ: 'JWT' })}.${base64({ exp: Math.floor(Date.now() / 1000) + 600, ...claims })}`;
  return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
}

const user = (sub, more) => token({ sub, permissions: 'subscribe:room/* publish:room/*', ...more });

/** A client whose sockets can be cut. */
function client(options) {
  const sockets = [];
  class Cuttable extends WebSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  }
  const made = new Centrifuge(url, {
    websocket: Cuttable,
    timeout: PATIENCE,
    minReconnectDelay: 50,
    maxReconnectDelay: 500,
    ...options,
  });
  made.cut = () => sockets.at(-1).terminate();
  return made;
}

const once = (emitter, name, test = () => true) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${name} within ${PATIENCE} ms`)), PATIENCE);
    emitter.on(name, (context) => {
      if (test(context)) {
        clearTimeout(timer);
        resolve(context);
      }
    });
  });

async function until(what, test) {
  const end = Date.now() + PATIENCE;
  while (!(await test())) {
    assert.ok(Date.now() < end, `not within ${PATIENCE} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Subscribes and collects what comes: data and offsets. */
function collect(of, channel, options) {
  const subscription = of.newSubscription(channel, options);
  const got = [];
  const contexts = [];
  subscription.on('publication', (publication) => got.push(publication));
  subscription.on('subscribed', (context) => contexts.push(context));
  subscription.subscribe();
  return { subscription, got, contexts };
}

async function connected(options) {
  const made = client(options);
  const ready = once(made, 'connected');
  made.connect();
  const context = await ready;
  return { made, context };
}

const checks = {
  async 'connects with a token of its first frame and is told its connection'() {
    const { made, context } = await connected({ token: user('u1') });
    assert.match(context.client, /./);
    made.disconnect();
  },

  async 'gets what another publishes, with offsets that rise by one'() {
    const { made: one } = await connected({ token: user('u1') });
    const { made: other } = await connected({ token: user('u2') });
    const { got, subscription } = collect(one, 'room/a');
    const { contexts } = { contexts: [await once(subscription, 'subscribed')] };
    assert.equal(contexts[0].recoverable, true);
    for (let number = 0; number < 10; number += 1) await other.publish('room/a', { number });
    await until('ten publications', () => got.length >= 10);
    assert.deepEqual(got.map((publication) => publication.offset), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    const history = await other.history('room/a', { limit: 3, reverse: true });
    assert.deepEqual(history.publications.map((publication) => publication.offset), [10, 9, 8]);
    assert.equal((await other.history('room/a', { limit: 0 })).offset, 10);
    one.disconnect();
    other.disconnect();
  },

  async 'recovers what was said while its socket was cut, once and in order'() {
    const { made: one } = await connected({ token: user('u1') });
    const { made: other } = await connected({ token: user('u2') });
    const { got, subscription, contexts } = collect(one, 'room/b');
    await once(subscription, 'subscribed');
    for (let round = 0; round < 3; round += 1) {
      for (let number = 0; number < 5; number += 1) await other.publish('room/b', { number });
      one.cut();
      for (let number = 0; number < 5; number += 1) await other.publish('room/b', { number });
      await until('everything', () => got.length >= (round + 1) * 10);
    }
    await other.publish('room/b', 'last');
    await until('the last', () => got.length >= 31);
    assert.deepEqual(got.map((publication) => publication.offset), Array.from({ length: 31 }, (_, index) => index + 1));
    assert.ok(contexts.length >= 4 && contexts.slice(1).every((context) => context.wasRecovering && context.recovered));
    one.disconnect();
    other.disconnect();
  },

  async 'unsubscribes in its first handler after a cut, subscribes again, and has everything once'() {
    const { made: one } = await connected({ token: user('u1') });
    const { made: other } = await connected({ token: user('u2') });
    const { got, subscription } = collect(one, 'room/e');
    await once(subscription, 'subscribed');
    for (const number of [1, 2, 3]) await other.publish('room/e', number);
    await until('three', () => got.length === 3);
    let isFirst = true;
    subscription.on('subscribed', () => {
      if (!isFirst) return;
      isFirst = false;
      subscription.unsubscribe();
      subscription.subscribe();
    });
    one.cut();
    for (const number of [4, 5, 6]) await other.publish('room/e', number);
    await until('a second subscription', () => !isFirst && subscription.state === 'subscribed');
    for (const number of [7, 8, 9]) await other.publish('room/e', number);
    await until('all nine', () => got.length >= 9);
    assert.deepEqual(got.map(({ data, offset }) => [data, offset]), [1, 2, 3, 4, 5, 6, 7, 8, 9].map((number) => [number, number]));
    one.disconnect();
    other.disconnect();
  },

  async 'is told that a log does not reach back, and loads its state again'() {
    const { made: other } = await connected({ token: user('u2') });
    const one = client({ token: user('u1'), minReconnectDelay: 2_000 });
    const ready = once(one, 'connected');
    one.connect();
    await ready;
    const [plain, loading] = [collect(one, 'room/f'), { states: 0 }];
    const getState = async () => {
      loading.states += 1;
      const { offset, epoch } = await other.history('room/g', { limit: 0 });
      return { offset, epoch };
    };
    Object.assign(loading, collect(one, 'room/g', { getState }));
    await until('both', () => [plain, loading].every(({ subscription }) => subscription.state === 'subscribed'));
    one.cut();
    for (const channel of ['room/f', 'room/g']) {
      await other.publish(channel, 'gone');
      const body = JSON.stringify({ channel });
      const answer = await fetch(`${api}/api/history_remove`, { method: 'POST', headers: { 'X-API-Key': key }, body });
      assert.deepEqual(await answer.json(), { result: {} });
    }
    await until('both again', () => [plain, loading].every(({ contexts }) => contexts.length >= 2));
    assert.deepEqual([plain.contexts[1].wasRecovering, plain.contexts[1].recovered], [true, false]);
    assert.equal(loading.states, 2);
    for (const channel of ['room/f', 'room/g']) await other.publish(channel, 'next');
    await until('what comes next', () => [plain, loading].every(({ got }) => got.length === 1 && got[0].data === 'next'));
    one.disconnect();
    other.disconnect();
  },

  async 'is refused what its token does not permit, and stays connected'() {
    const { made } = await connected({ token: user('u1') });
    const { subscription } = collect(made, 'secret/a');
    assert.equal((await once(subscription, 'unsubscribed')).code, 103);
    await assert.rejects(made.publish('secret/a', 1), { code: 103 });
    await assert.rejects(made.history('secret/a'), { code: 103 });
    await assert.rejects(made.rpc('nothing', {}), { code: 104 });
    assert.equal(made.state, 'connected');
    made.disconnect();
  },

  async 'a token of one subscription lets its user in, and nobody else'() {
    const { made } = await connected({ token: user('u1') });
    const own = token({ sub: 'u1', channel: 'secret/b' });
    const { subscription } = collect(made, 'secret/b', { token: own });
    await once(subscription, 'subscribed');
    // A good token in the wrong place ends the whole connection, as in Centrifugo.
    const gone = once(made, 'disconnected');
    collect(made, 'secret/c', { token: own });
    assert.equal((await gone).code, 3500);
    const opening = client({ token: own });
    const refused = once(opening, 'disconnected');
    opening.connect();
    assert.equal((await refused).code, 3500);
  },

  async 'a forged token keeps it away, and an expired one has it fetch another'() {
    const forged = client({ token: `${user('u1').slice(0, -4)}AAAA` });
    const gone = once(forged, 'disconnected');
    forged.connect();
    assert.equal((await gone).code, 3500);
    let fetched = 0;
    const expired = client({
      token: user('u1', { exp: Math.floor(Date.now() / 1000) - 600 }),
      getToken: async () => {
        fetched += 1;
        return user('u1');
      },
    });
    const ready = once(expired, 'connected');
    expired.connect();
    await ready;
    assert.equal(fetched, 1);
    expired.disconnect();
  },

  async 'refreshes its token before that ends'() {
    let fetched = 0;
    const getToken = async () => {
      fetched += 1;
      return user('u1', { exp: Math.floor(Date.now() / 1000) + (fetched === 1 ? 3 : 600) });
    };
    const { made } = await connected({ getToken });
    await until('a second token', () => fetched >= 2);
    assert.equal(made.state, 'connected');
    await made.publish('room/c', 1);
    made.disconnect();
  },

  async 'channels of its token are its subscriptions from the beginning'() {
    const { made: one, context } = await connected({ token: user('u1', { channels: ['news'] }) });
    assert.ok(context.client);
    const got = [];
    one.on('publication', (publication) => got.push(publication));
    const { made: other } = await connected({ token: user('u2', { permissions: 'publish:news' }) });
    await other.publish('news', 'hello');
    await until('the news', () => got.length > 0);
    assert.deepEqual([got[0].channel, got[0].data], ['news', 'hello']);
    one.disconnect();
    other.disconnect();
  },

  async 'without waiting: subscribe, unsubscribe and subscribe end subscribed'() {
    const { made: one } = await connected({ token: user('u1') });
    const { made: other } = await connected({ token: user('u2') });
    const { got, subscription } = collect(one, 'room/d');
    subscription.unsubscribe();
    subscription.subscribe();
    await until('a subscription', () => subscription.state === 'subscribed');
    await new Promise((resolve) => setTimeout(resolve, 500));
    await other.publish('room/d', 1);
    await until('a publication', () => got.length > 0);
    assert.equal(got.length, 1);
    one.disconnect();
    other.disconnect();
  },

  async 'without waiting: subscribe, unsubscribe, subscribe and unsubscribe end without a subscription'() {
    const { made: one } = await connected({ token: user('u1') });
    const { made: other } = await connected({ token: user('u2') });
    const { got, subscription } = collect(one, 'room/left');
    for (let turn = 0; turn < 2; turn += 1) {
      subscription.unsubscribe();
      if (turn === 0) subscription.subscribe();
    }
    const { got: later, subscription: witness } = collect(one, 'room/witness');
    await once(witness, 'subscribed');
    // What was sent before may be carried out after that, but not by seconds.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    await other.publish('room/left', 1);
    await other.publish('room/witness', 1);
    await until('the witness', () => later.length > 0);
    assert.deepEqual([got.length, subscription.state], [0, 'unsubscribed']);
    one.disconnect();
    other.disconnect();
  },

  async 'without waiting: subscriptions whose tokens come late are all alive'() {
    const { made: other } = await connected({ token: user('u2') });
    const later = (value, milliseconds) => new Promise((resolve) => setTimeout(() => resolve(value), milliseconds));
    const one = client({ getToken: () => later(user('u1'), 50) });
    const channels = [1, 2, 3, 4, 5].map((number) => `secret/late${number}`);
    const all = channels.map((channel, index) => {
      const getToken = () => later(token({ sub: 'u1', channel }), 40 + 20 * index);
      return collect(one, channel, { getToken });
    });
    const ready = all.map(({ subscription }) => once(subscription, 'subscribed'));
    one.connect();
    await Promise.all(ready);
    const sender = await connected({ token: token({ sub: 'u3', permissions: 'publish:secret/*' }) });
    for (const channel of channels) await sender.made.publish(channel, 'hello');
    await until('all of them', () => all.every(({ got }) => got.length === 1));
    for (const of of [one, other, sender.made]) of.disconnect();
  },
};

// Behind what the other programs are told, which this one does not need: where to cut sockets, and the API for servers.
const chosen = process.argv[7];
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
