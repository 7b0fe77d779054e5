// Azure Web PubSub's official library for JavaScript, unmodified, that only listens and says nothing by itself:
// `node quiet_webpubsub.mjs URL`. It says what happens until it is ended.
import { WebPubSubClient } from '@azure/web-pubsub-client';

const client = new WebPubSubClient(process.argv[2], { keepAliveIntervalInMs: 0, keepAliveTimeoutInMs: 0 });
client.on('group-message', ({ message }) => console.log(`got ${message.data + 1}`));
client.on('connected', async () => {
  await client.joinGroup('quiet');
  console.log('subscribed');
});
await client.start();
