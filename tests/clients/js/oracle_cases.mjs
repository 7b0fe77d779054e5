// What is asked of Centrifugo and of a stack. A case speaks to a fresh part of its server: channels and users have its number.
import { seconds } from './oracle_server.mjs';

const subscribe = (channel, more) => ({ subscribe: { channel, ...more } });
const publish = (channel, data) => ({ publish: { channel, data } });
const history = (channel, more) => ({ history: { channel, ...more } });

/** Opens a socket, says `connect` with a token, and what is answered is a step. */
async function connects(server, name, connect) {
  const socket = await server.socket(name);
  await socket.ask({ connect }, 'connect');
  return socket;
}

const opening = {
  async 'a token opens a connection'(server) {
    await connects(server, 'a', { token: server.token({ sub: server.user() }), name: 'js' });
    await connects(server, 'without an end', { token: server.token({ sub: server.user(), exp: undefined }) });
    await connects(server, 'of nobody', { token: server.token({ sub: '' }) });
  },

  async 'without a good token nobody connects'(server) {
    const claims = { sub: server.user() };
    await connects(server, 'no token', {});
    await connects(server, 'garbage', { token: 'garbage' });
    await connects(server, 'forged', { token: server.token(claims, 'another secret') });
    await connects(server, 'alg none', { token: server.token(claims, '', 'none') });
    await connects(server, 'another algorithm', { token: server.token(claims, server.at.secret, 'RS256') });
    await connects(server, 'not yet', { token: server.token({ ...claims, nbf: seconds(600) }) });
    await connects(server, 'a number for a user', { token: server.token({ sub: 5 }) });
  },

  async 'an expired token is told so, and the client may come with another'(server) {
    const socket = await connects(server, 'a', { token: server.token({ sub: server.user(), exp: seconds(-600) }) });
    await socket.ask({ connect: { token: server.token({ sub: server.user() }) } }, 'connect again');
  },

  async "a subscription's token opens no connection"(server) {
    await connects(server, 'a', { token: server.ticket({ sub: server.user(), channel: server.channel() }) });
  },

  async 'a connection connects once'(server) {
    const socket = await server.connected('a');
    await socket.ask({ connect: { token: server.token({ sub: server.user() }) } }, 'connect again');
  },

  async 'what comes before the connect is refused'(server) {
    for (const [name, command] of Object.entries({
      subscribe: subscribe(server.channel()),
      publish: publish(server.channel(), 1),
      rpc: { rpc: { method: 'm', data: {} } },
    })) {
      const socket = await server.socket(name);
      await socket.ask(command, 'first');
    }
  },

  async 'channels of a token are subscriptions from the beginning'(server) {
    const [one, other] = [server.channel('1'), server.channel('2')];
    const socket = await connects(server, 'a', { token: server.token({ sub: server.user(), channels: [one] }) });
    const sender = await server.connected('b');
    await sender.ask(publish(one, 'hello'));
    await socket.push();
    await connects(server, 'c', { token: server.token({ sub: server.user(), subs: { [other]: {} } }) });
  },

  async 'a token is refreshed'(server) {
    for (const [name, token] of Object.entries({
      'a good one': server.token({ sub: server.user() }),
      'without an end': server.token({ sub: server.user(), exp: undefined }),
      'an expired one': server.token({ sub: server.user(), exp: seconds(-600) }),
      nothing: '',
      'a forged one': server.token({ sub: server.user() }, 'another secret'),
    })) {
      const socket = await server.connected(name, { exp: seconds(60) });
      await socket.ask({ refresh: { token } });
    }
  },

  async "another user's token refreshes nothing"(server) {
    const socket = await server.connected('a');
    await socket.ask({ refresh: { token: server.token({ sub: server.user('other') }) } }, 'refresh');
  },
};

const subscriptions = {
  async 'a subscription has a position, and gets what is published'(server) {
    const [one, other] = [await server.connected('a'), await server.connected('b')];
    await one.ask(subscribe(server.channel()));
    await other.ask(publish(server.channel(), { n: 1 }));
    await one.push();
    await one.ask(publish(server.channel(), 'own'));
    await one.push('own');
  },

  async 'a channel without a log is a plain subscription'(server) {
    const [one, other] = [await server.connected('a'), await server.connected('b')];
    await one.ask(subscribe(server.channel('1', 'plain')));
    await other.ask(publish(server.channel('1', 'plain'), [1, null, 'ä']));
    await one.push();
  },

  async 'what is not permitted is refused'(server) {
    const socket = await server.connected('a');
    const closed = server.channel('1', 'closed');
    await socket.ask(subscribe(closed));
    await socket.ask(publish(closed, 1));
    await socket.ask(history(closed, { limit: 1 }));
    await socket.ask({ presence: { channel: closed } });
    await socket.ask({ presence_stats: { channel: closed } });
    await socket.ask({ unsubscribe: { channel: closed } });
    await socket.ask(subscribe(server.channel('1', 'nowhere')), 'subscribe to rules that are not there');
    await socket.ask(publish(server.channel('1', 'nowhere'), 1), 'publish under rules that are not there');
  },

  async 'a channel must have a name'(server) {
    const names = { nothing: '', long: `room/${'x'.repeat(300)}`, 'beyond ASCII': `${server.channel()}ä`, space: `${server.channel()} x` };
    for (const [name, channel] of Object.entries(names)) {
      const socket = await server.connected(name);
      await socket.ask(subscribe(channel));
    }
  },

  async 'a second subscribe is told that there is one'(server) {
    const socket = await server.connected('a');
    await socket.ask(subscribe(server.channel()));
    await socket.ask(subscribe(server.channel()), 'subscribe again');
  },

  async 'unsubscribe ends it, and comes too often without harm'(server) {
    const [one, other] = [await server.connected('a'), await server.connected('b')];
    await one.ask(subscribe(server.channel()));
    await one.ask({ unsubscribe: { channel: server.channel() } });
    await one.ask({ unsubscribe: { channel: server.channel() } });
    await other.ask(publish(server.channel(), 'lost'));
    await one.ask(subscribe(server.channel()), 'subscribe anew');
    await other.ask(publish(server.channel(), 'seen'));
    await one.push();
  },

  async 'what was missed is in the reply'(server) {
    const [one, other] = [await server.connected('a'), await server.connected('b')];
    const reply = await one.ask(subscribe(server.channel()));
    const { epoch } = reply.subscribe;
    for (const n of [1, 2, 3]) await other.asked(publish(server.channel(), n));
    for (const offset of [0, 1, 3]) {
      const late = await server.connected(`since ${offset}`);
      await late.ask(subscribe(server.channel(), { recover: true, offset, epoch }));
      await late.ask(publish(server.channel(), 'next'));
      await late.push();
    }
  },

  async 'what cannot be recovered is said so'(server) {
    const other = await server.connected('b');
    for (const n of [1, 2]) await other.asked(publish(server.channel(), n));
    const at = await other.asked(history(server.channel()));
    const { epoch } = at.history;
    for (const [name, more] of Object.entries({
      'another epoch': { recover: true, offset: 1, epoch: 'other' },
      'no epoch': { recover: true, offset: 1 },
      'a place that is yet to come': { recover: true, offset: 9, epoch },
      'flag 2': { recover: true, offset: 1, epoch: 'other', flag: 2 },
      'flag 2 and all there': { recover: true, offset: 1, epoch, flag: 2 },
    })) {
      const late = await server.connected(name);
      await late.ask(subscribe(server.channel(), more));
    }
  },

  async 'what the libraries ask for and nobody has to give'(server) {
    for (const [name, more] of Object.entries({
      'flag 1': { flag: 1 },
      delta: { delta: 'fossil' },
      tf: { tf: { op: 'eq', key: 'k', val: 'v' } },
      'type 1': { type: 1 },
      positioned: { positioned: true },
      recoverable: { recoverable: true },
      data: { data: { any: 1 } },
    })) {
      const socket = await server.connected(name);
      await socket.ask(subscribe(server.channel(name), more));
    }
  },

  async "a subscription's own token lets its user in"(server) {
    const closed = server.channel('1', 'closed');
    const user = server.user();
    const ask = async (name, claims, more = {}) => {
      const socket = await server.connected(name);
      const token = server.ticket({ sub: user, channel: closed, ...claims });
      await socket.ask(subscribe(closed, { token, ...more }));
      return socket;
    };
    const socket = await ask('a', {});
    await socket.ask({ sub_refresh: { channel: closed, token: server.ticket({ sub: user, channel: closed }) } }, 'sub_refresh');
    await socket.ask({ sub_refresh: { channel: closed, token: server.ticket({ sub: user, channel: 'closed:other' }) } }, 'sub_refresh by another channel’s');
    await ask('without an end', { exp: undefined });
    await ask('expired', { exp: seconds(-600) });
    await ask('of another channel', { channel: server.channel('2', 'closed') });
    await ask('of another user', { sub: server.user('other') });
    await ask('forged', {}, { token: server.token({ sub: user, channel: closed }, 'another secret') });
    await ask("a connection's", { channel: undefined });
  },

  async 'who asks is told who comes and goes'(server) {
    const one = await server.connected('a');
    await one.ask(subscribe(server.channel(), { join_leave: true }));
    await one.push('joins itself');
    const other = await server.connected('b', { info: { name: 'B' } });
    await other.ask(subscribe(server.channel()));
    await one.push('sees a join');
    await other.ask({ unsubscribe: { channel: server.channel() } });
    await one.push('sees a leave');
  },
};

const questions = {
  async 'history is read from both ends'(server) {
    const socket = await server.connected('a');
    for (const n of [1, 2, 3, 4]) await socket.asked(publish(server.channel(), n));
    const { epoch } = (await socket.ask(history(server.channel()), 'position')).history;
    for (const [name, more] of Object.entries({
      all: { limit: -1 },
      two: { limit: 2 },
      'the last two': { limit: 2, reverse: true },
      'since 2': { limit: 10, since: { offset: 2, epoch } },
      'before 3': { limit: 10, since: { offset: 3, epoch }, reverse: true },
      'since the end': { limit: 10, since: { offset: 4, epoch } },
      'another epoch': { limit: 10, since: { offset: 2, epoch: 'other' } },
      'no epoch': { limit: 10, since: { offset: 2 } },
      'beyond the end': { limit: 10, since: { offset: 99, epoch } },
    })) {
      await socket.ask(history(server.channel(), more), name);
    }
    await socket.ask(history(server.channel('1', 'plain'), { limit: 1 }), 'of a channel without a log');
    await socket.ask(history(server.channel('empty'), { limit: 1 }), 'of a channel where nothing was said');
    await socket.ask(history('', { limit: 1 }), 'of no channel');
  },

  async 'presence says who is there'(server) {
    const [one, other] = [await server.connected('a', { info: { name: 'A' } }), await server.connected('b')];
    await one.ask(subscribe(server.channel()));
    await other.ask(subscribe(server.channel()));
    await one.ask({ presence: { channel: server.channel() } });
    await one.ask({ presence_stats: { channel: server.channel() } });
    await one.ask({ presence: { channel: server.channel('empty') } }, 'presence of nobody');
    await one.ask({ presence_stats: { channel: server.channel('empty') } }, 'presence_stats of nobody');
    await one.ask({ presence: { channel: server.channel('1', 'plain') } }, 'presence where there is none');
    await one.ask({ presence_stats: { channel: server.channel('1', 'plain') } }, 'presence_stats where there is none');
    await one.ask({ presence: { channel: '' } }, 'presence of no channel');
  },

  async 'data is any JSON'(server) {
    const [one, other] = [await server.connected('a'), await server.connected('b')];
    await one.asked(subscribe(server.channel()));
    for (const data of [null, 0, '', [], {}, { n: { deep: [1.5, 'ü'] } }, 'a\nb']) {
      await other.ask(publish(server.channel(), data), `publish ${JSON.stringify(data)}`);
    }
    await other.asked(publish(server.channel(), 'last'));
    await one.until(() => (one.pushes.some((push) => push.pub?.data === 'last') || one.ended ? true : undefined));
    while (one.pushes.length > 0) await one.push();
  },

  async 'a publish needs data'(server) {
    const socket = await server.connected('a');
    await socket.ask({ publish: { channel: server.channel() } });
    await socket.ask({ publish: { channel: '', data: 1 } }, 'publish to no channel');
  },

  async 'an rpc that nobody serves'(server) {
    const socket = await server.connected('a');
    await socket.ask({ rpc: { method: 'nothing', data: {} } });
    await socket.ask({ rpc: { method: '', data: {} } }, 'rpc without a name');
    await socket.ask({ rpc: { data: {} } }, 'rpc without a method');
  },
};

/** Frames that a library would not send, each to a connection of its own. */
const frames = {
  'no JSON': 'hello',
  'half of one': '{"publish":{"channel":"c"',
  'a list': '[]',
  'a number': '5',
  'a text': '"text"',
  null: 'null',
  'an empty object': '{}',
  'an unknown command': '{"dance":{},"id":77}',
  'an unknown command without an id': '{"dance":{}}',
  'a command without an id': '{"subscribe":{"channel":"room/x"}}',
  'an id that is a text': '{"rpc":{"method":"m","data":{}},"id":"a"}',
  'an id below zero': '{"rpc":{"method":"m","data":{}},"id":-1}',
  'an id with a fraction': '{"rpc":{"method":"m","data":{}},"id":1.5}',
  'two commands in one': '{"subscribe":{"channel":"room/x"},"publish":{"channel":"room/x","data":1},"id":77}',
  'only an id': '{"id":77}',
  'a command that is a text': '{"subscribe":"room/x","id":77}',
  'a channel that is a number': '{"subscribe":{"channel":5},"id":77}',
  'a command that is null': '{"subscribe":null,"id":77}',
  'a send': '{"send":{"data":1}}',
  'an old ping': '{"ping":{},"id":77}',
  'a field nobody knows': '{"presence_stats":{"channel":"room/nobody","x":1},"id":77,"y":2}',
  'an empty line at its end': '{"presence_stats":{"channel":"room/nobody"},"id":77}\n',
  'an empty line between': '{"presence_stats":{"channel":"room/nobody"},"id":77}\n\n{"presence_stats":{"channel":"room/nobody"},"id":78}',
  'two lines': '{"presence_stats":{"channel":"room/nobody"},"id":77}\n{"presence_stats":{"channel":"room/nobody"},"id":78}',
  'a good line and a bad one': '{"presence_stats":{"channel":"room/nobody"},"id":77}\nhello',
  'spaces around': '  {"presence_stats":{"channel":"room/nobody"},"id":77}  ',
};

const wire = {
  async 'frames that no library sends'(server) {
    for (const [name, frame] of Object.entries(frames)) {
      const socket = await server.connected(name);
      await socket.frame(frame, 'is answered');
    }
  },

  async 'one frame may hold all that a library has to say'(server) {
    const socket = await server.socket('a');
    const channels = [1, 2, 3].map((number) => server.channel(String(number)));
    const commands = [{ connect: { token: server.token({ sub: server.user() }) } }, ...channels.map((channel) => subscribe(channel))];
    socket.send(commands.map((command, index) => JSON.stringify({ ...command, id: index + 1 })).join('\n'));
    for (const [index] of commands.entries()) server.saw(`a reply ${index + 1}`, await socket.replyTo(index + 1));
  },
};

const api = {
  async 'a server publishes and broadcasts'(server) {
    const socket = await server.connected('a');
    const [one, other, plain] = [server.channel('1'), server.channel('2'), server.channel('1', 'plain')];
    for (const channel of [one, other, plain]) await socket.asked(subscribe(channel));
    await server.call('publish', { channel: one, data: { n: 1 } });
    await socket.push();
    await server.call('publish', { channel: plain, data: 1 }, { step: 'api publish without a log' });
    await socket.push('push without a log');
    await server.call('publish', { channel: one, data: 2, idempotency_key: 'k' });
    await server.call('publish', { channel: one, data: 2, idempotency_key: 'k' });
    await socket.push('push of what came twice');
    await server.call('publish', { channel: one, b64data: Buffer.from('{"n":3}').toString('base64') }, { step: 'api publish of base64' });
    await socket.push('push of base64');
    await server.call('publish', { channel: one, data: 4, tags: { a: 'b' } }, { step: 'api publish with tags' });
    await server.call('publish', { channel: other, data: 5, skip_history: true }, { step: 'api publish beside the log' });
    await server.call('broadcast', { channels: [server.channel('3'), server.channel('4')], data: 'all' });
    await server.call('broadcast', { channels: [server.channel('3'), ''], data: 'all' }, { step: 'api broadcast with a channel without a name' });
    await server.call('broadcast', { channels: [], data: 'all' }, { step: 'api broadcast to nobody' });
  },

  async 'a server is told what is wrong'(server) {
    const channel = server.channel();
    await server.call('publish', { data: 1 }, { step: 'no channel' });
    await server.call('publish', { channel }, { step: 'no data' });
    await server.call('publish', { channel: 5, data: 1 }, { step: 'a channel that is a number' });
    await server.call('publish', { channel: server.channel('1', 'nowhere'), data: 1 }, { step: 'rules that are not there' });
    await server.call('publish', 'hello', { step: 'no JSON' });
    await server.call('publish', '[]', { step: 'a list' });
    await server.call('publish', '', { step: 'nothing' });
    await server.call('nothing', {}, { step: 'an unknown method' });
    await server.call('', {}, { step: 'no method' });
    await server.call('info', {}, { verb: 'GET', step: 'GET' });
    await server.call('info', {}, { headers: {}, step: 'no key' });
    await server.call('info', {}, { headers: { 'X-API-Key': 'wrong' }, step: 'a wrong key' });
    await server.call('info', {}, { headers: { Authorization: `Bearer ${server.at.key}` }, step: 'the key as a bearer' });
    await server.call('presence_stats', { channel }, { headers: { Authorization: `apikey ${server.at.key}` }, step: 'the other header' });
    const headers = { 'X-API-Key': server.at.key, 'X-Centrifugo-Error-Mode': 'transport' };
    await server.call('publish', { data: 1 }, { headers, step: 'errors as statuses: no channel' });
    await server.call('rpc', { method: 'm', params: {} }, { headers, step: 'errors as statuses: rpc' });
    await server.call('rpc', { method: 'm', params: {} });
  },

  async 'a server reads and removes history'(server) {
    const channel = server.channel();
    await server.call('history', { channel }, { step: 'of what never was' });
    for (const n of [1, 2, 3]) await server.call('publish', { channel, data: n });
    const at = await server.call('history', { channel }, { step: 'position' });
    const { epoch } = at.result;
    await server.call('history', { channel, limit: 2 }, { step: 'two' });
    await server.call('history', { channel, limit: 2, since: { offset: 1, epoch } }, { step: 'since' });
    await server.call('history', { channel, limit: 2, reverse: true }, { step: 'reverse' });
    await server.call('history', { channel, limit: 2, since: { offset: 1, epoch: 'other' } }, { step: 'another epoch' });
    await server.call('history_remove', { channel });
    await server.call('history', { channel, limit: 10 }, { step: 'removed' });
    await server.call('publish', { channel, data: 4 }, { step: 'after it' });
    await server.call('history', { channel: server.channel('1', 'plain') }, { step: 'without a log' });
    await server.call('history_remove', { channel: server.channel('1', 'plain') }, { step: 'removed without a log' });
  },

  async 'a server sees who is there'(server) {
    const socket = await server.connected('a', { info: { name: 'A' } });
    await socket.asked(subscribe(server.channel()));
    await server.call('presence', { channel: server.channel() });
    await server.call('presence_stats', { channel: server.channel() });
    await server.call('presence', { channel: server.channel('empty') }, { step: 'nobody' });
    await server.call('presence', { channel: server.channel('1', 'plain') }, { step: 'without presence' });
    await server.call('presence', {}, { step: 'no channel' });
    await server.call('channels', { pattern: server.channel() });
  },

  async 'a server subscribes and unsubscribes its users'(server) {
    const [socket, channel, user] = [await server.connected('a'), server.channel(), server.user()];
    await server.call('subscribe', { user, channel });
    await socket.push('is told of it');
    await server.call('publish', { channel, data: 1 });
    await socket.push('gets it');
    await server.call('unsubscribe', { user, channel });
    await socket.push('is told of its end');
    await server.call('subscribe', { user: server.user('nobody'), channel }, { step: 'nobody' });
    await server.call('unsubscribe', { user: server.user('nobody'), channel }, { step: 'nobody again' });
    await server.call('subscribe', { user }, { step: 'no channel' });
    await server.call('subscribe', { channel }, { step: 'no user' });
  },

  async 'a server disconnects its users'(server) {
    const [one, other] = [await server.connected('a'), await server.connected('b', { sub: server.user('other') })];
    await server.call('disconnect', { user: server.user() });
    await one.end();
    await server.call('disconnect', { user: server.user('other'), disconnect: { code: 4501, reason: 'enough' } });
    await other.end('with a code');
    await server.call('disconnect', { user: server.user('nobody') }, { step: 'nobody' });
    await server.call('disconnect', {}, { step: 'no user' });
    await server.call('disconnect', { user: server.user(), disconnect: { code: 5, reason: 'x' } }, { step: 'a code that is none' });
  },

  async 'a server sets when connections end'(server) {
    await server.connected('a');
    await server.call('refresh', { user: server.user(), expire_at: seconds(900) });
    await server.call('refresh', { user: server.user('nobody'), expire_at: seconds(900) }, { step: 'nobody' });
    await server.call('refresh', {}, { step: 'no user' });
  },

  async 'a server says many things at once'(server) {
    const channel = server.channel();
    const commands = [{ publish: { channel, data: 1 } }, { publish: { data: 1 } }, { history: { channel, limit: 1 } }, { presence_stats: { channel } }];
    await server.call('batch', { commands });
    await server.call('batch', { commands: [] }, { step: 'nothing' });
    await server.call('batch', { commands: [{ nothing: {} }] }, { step: 'an unknown method' });
    await server.call('batch', { commands: [{}] }, { step: 'an empty command' });
    await server.call('batch', {}, { step: 'no commands' });
  },
};

export const cases = { ...opening, ...subscriptions, ...questions, ...wire, ...api };
