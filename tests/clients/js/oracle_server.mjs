// One server, as a case of the oracle sees it: its sockets, its HTTP API, and what of the answers can be compared.
import { createHmac } from 'node:crypto';
import WebSocket from 'ws';

/** How long an answer may take: the functions of a stack start while it waits. */
const PATIENCE = 20_000;
/** How long it is looked whether a frame has an answer that is not known to come. */
const SETTLED = 3_000;
/** What no two servers say alike: it counts whether it is there. */
const OWN = ['version', 'node', 'session', 'time', 'uid', 'uptime', 'process', 'metrics'];

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

export const seconds = (from) => Math.floor(Date.now() / 1000) + from;

export class Server {
  constructor(at, index) {
    Object.assign(this, { at, index, steps: {}, names: new Map(), sockets: [] });
  }

  /** A name that no other case uses. */
  channel(name = '1', rules = 'room') {
    return rules === 'room' ? `room/${this.index}-${name}` : `${rules}:x/${this.index}-${name}`;
  }

  user(name = 'u') {
    return `${name}${this.index}`;
  }

  token(claims, secret = this.at.secret, algorithm = 'HS256') {
    const permissions = 'subscribe:room/* publish:room/* presence:room/* subscribe:plain:x/* publish:plain:x/* presence:plain:x/*';
    const body = `${base64({ alg: algorithm, typ: 'JWT' })}.${base64({ exp: seconds(600), permissions, ...claims })}`;
    const signature = algorithm === 'none' ? '' : createHmac('sha256', secret).update(body).digest('base64url');
    return `${body}.${signature}`;
  }

  /** A subscription's token. */
  ticket(claims) {
    return this.token({ permissions: undefined, ...claims });
  }

  /** A socket on which nothing was said yet. */
  async socket(name) {
    const socket = new Socket(this, name);
    this.sockets.push(socket);
    await socket.opened;
    return socket;
  }

  /** A connection of a user. What its connect reply says is no step. */
  async connected(name, claims, more) {
    const socket = await this.socket(name);
    const reply = await socket.asked({ connect: { token: this.token({ sub: this.user(), ...claims }), ...more } });
    if (!reply.connect) throw new Error(`${name} cannot connect: ${JSON.stringify(reply)}`);
    socket.client = reply.connect.client;
    this.named('client', socket.client);
    return socket;
  }

  saw(step, value) {
    let name = step;
    for (let again = 2; name in this.steps; again += 1) name = `${step} (${again})`;
    this.steps[name] = this.comparable(value);
  }

  /** Calls a method of the HTTP API; what it answers is a step. */
  async call(method, body, { headers = { 'X-API-Key': this.at.key }, verb = 'POST', step = `api ${method}` } = {}) {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const options = { method: verb, headers: { 'Content-Type': 'application/json', ...headers } };
    const response = await fetch(`${this.at.api}/api/${method}`, verb === 'POST' ? { ...options, body: text } : options);
    const said = await response.text();
    let answer = said;
    try {
      answer = JSON.parse(said);
    } catch {
      // Not JSON: compared as it is.
    }
    this.saw(step, { status: response.status, answer: response.status === 200 ? answer : this.failed(answer) });
    return answer;
  }

  /** Of what is no answer only whether it is JSON counts: the words are the server's own. */
  failed(answer) {
    return answer !== null && typeof answer === 'object' ? answer : '';
  }

  /** The same for both servers where it means the same. */
  comparable(value, key) {
    if (Array.isArray(value)) return value.map((one) => this.comparable(one));
    if (value !== null && typeof value === 'object') {
      const entries = Object.entries(value).filter(([name]) => name !== 'id' && !OWN.includes(name));
      return Object.fromEntries(entries.map(([name, of]) => [this.names.get(name) ?? name, this.comparable(of, name)]).sort());
    }
    if ((key === 'epoch' || key === 'client') && typeof value === 'string') return this.named(key, value);
    if (key === 'ttl' && value > 0) return 'some seconds';
    // Behind Centrifugo's own words a stack says what is wrong.
    if (key === 'message' && typeof value === 'string') return value.split(': ')[0];
    return typeof value === 'string' ? (this.names.get(value) ?? value) : value;
  }

  named(kind, value) {
    if (!this.names.has(value)) {
      const count = [...this.names.values()].filter((name) => name.startsWith(kind)).length;
      this.names.set(value, `${kind} ${count + 1}`);
    }
    return this.names.get(value);
  }

  end() {
    for (const socket of this.sockets) socket.socket.terminate();
  }
}

class Socket {
  constructor(server, name) {
    Object.assign(this, { server, name, replies: new Map(), pushes: [], waiting: [], id: 0, ended: undefined });
    this.socket = new WebSocket(server.at.socket);
    this.opened = new Promise((resolve, reject) => {
      this.socket.on('open', resolve);
      this.socket.on('error', reject);
    });
    this.socket.on('message', (data) => this.read(data.toString()));
    // A stack cannot choose the code of a close frame: it says in a push why it ends, and then ends.
    this.socket.on('close', (code, reason) => {
      this.ended ??= code >= 3000 ? { code, reason: reason.toString() } : { code };
      this.wake();
    });
  }

  read(text) {
    for (const line of text.split('\n').filter(Boolean)) {
      const message = JSON.parse(line);
      if (message.id) this.replies.set(message.id, message);
      else if (message.push?.disconnect) this.ended = message.push.disconnect;
      else if (message.push) this.pushes.push(message.push);
    }
    this.wake();
  }

  wake() {
    for (const look of this.waiting.splice(0)) look();
  }

  async until(found, patience = PATIENCE) {
    const end = Date.now() + patience;
    for (;;) {
      const value = found();
      if (value !== undefined) return value;
      if (Date.now() >= end) return { nothing: `within ${patience / 1000} s` };
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, end - Date.now());
        this.waiting.push(() => resolve(clearTimeout(timer)));
      });
    }
  }

  send(frame) {
    this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  /** Sends a command; its reply, or how the connection ended. */
  asked(command, id = (this.id += 1)) {
    this.send({ ...command, id });
    return this.replyTo(id);
  }

  replyTo(id) {
    return this.until(() => this.replies.get(id) ?? (this.ended && { ended: this.ended }));
  }

  /** The same, and that is a step. */
  async ask(command, step = Object.keys(command)[0]) {
    const reply = await this.asked(command);
    this.server.saw(`${this.name} ${step}`, reply);
    return reply;
  }

  /** The next push is a step. */
  async push(step = 'push') {
    const push = await this.until(() => this.pushes.shift() ?? (this.ended && { ended: this.ended }));
    this.server.saw(`${this.name} ${step}`, push);
    return push;
  }

  /** That the connection ends is a step, and why. */
  async end(step = 'end') {
    this.server.saw(`${this.name} ${step}`, await this.until(() => this.ended));
  }

  /** What is said to a frame of any kind: answers to the commands that it may have, or an end; and whether the connection lives. */
  async frame(text, step = text) {
    const [first, probe] = [77, 4_000_000];
    this.send(text);
    // Whatever it is answered with: it says that the connection lives.
    const reply = await this.asked({ rpc: { method: 'probe', data: {} } }, probe);
    // Frames of one connection run side by side at a stack: one that ends the connection may take longer than the probe.
    const wanted = [...text.matchAll(/"id":(7[78])\b/g)].map(([, id]) => Number(id));
    const all = () => (this.ended || (wanted.length > 0 && wanted.every((id) => this.replies.has(id))) ? true : undefined);
    await this.until(all, SETTLED);
    const others = [...this.replies].filter(([id]) => id !== probe && id >= first).sort(([one], [other]) => one - other);
    const lives = { lives: true, replies: others.map(([, other]) => other) };
    this.server.saw(`${this.name} ${step}`, reply.ended || this.ended ? { ended: this.ended } : lives);
  }
}
