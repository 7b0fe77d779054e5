// Centrifugo's official library for JavaScript, unmodified, that only listens: `node quiet.mjs URL TOKEN`. It says what happens
// until it is ended.
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

const [url, token] = process.argv.slice(2);
const client = new Centrifuge(url, { token, websocket: WebSocket, minReconnectDelay: 50, maxReconnectDelay: 500 });
const subscription = client.newSubscription('room/quiet');
subscription.on('subscribed', () => console.log('subscribed'));
subscription.on('publication', ({ offset }) => console.log(`got ${offset}`));
subscription.subscribe();
client.connect();
