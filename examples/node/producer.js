// Sends messages to a queue, in batches, and sends again what got no answer.
//
// Usage: node producer.js [QUEUE] [COUNT]      DMQ_ENDPOINT (tcp://127.0.0.1:7310)
//
// The producer's name and sequence make a repeated request harmless: the broker answers with duplicates and
// stores nothing twice.
const { randomUUID } = require('node:crypto');
const { setTimeout: pause } = require('node:timers/promises');
const { encode, decode } = require('@msgpack/msgpack');
const zmq = require('zeromq');

const endpoint = process.env.DMQ_ENDPOINT || 'tcp://127.0.0.1:7310';
const queue = process.argv[2] || 'hello';
const count = Number(process.argv[3] || 10);
const batch = 100, patienceMs = 5000, tries = 10;

function connect() {
  const socket = new zmq.Request({ linger: 0, receiveTimeout: patienceMs, sendTimeout: patienceMs });
  socket.connect(endpoint);
  return socket;
}

// One request until it is answered: the array of results.
async function send(header, messages) {
  let socket = connect();
  let trouble = `no answer from ${endpoint}`;
  try {
    for (let i = 0, pauseMs = 100; i < tries; ++i, pauseMs = Math.min(2 * pauseMs, 5000)) {
      try {
        await socket.send([encode(header), encode(messages)]);
        const [reply, payload] = (await socket.receive()).map((frame) => decode(frame));
        if (reply.code === 'ok') return payload;
        trouble = `${reply.code}: ${reply.message}`;
        if (!reply.retry) break;
      } catch (error) {
        if (error.code !== 'EAGAIN') throw error;
        socket.close(); // a REQ socket that got no answer is of no more use
        socket = connect();
      }
      await pause(pauseMs);
    }
    throw new Error(trouble);
  } finally {
    socket.close();
  }
}

async function main() {
  const producer = randomUUID();
  let taken = 0;
  for (let first = 0; first < count; first += batch) {
    const messages = [];
    for (let i = first; i < Math.min(first + batch, count); ++i) {
      messages.push({ body: Buffer.from(`hello ${i + 1}`), headers: { n: String(i + 1) } });
    }
    const header = { v: 1, op: 'send', queue, producer, sequence: first + 1 };
    for (const result of await send(header, messages)) {
      // A string is the message's id; a map is a duplicate (code ok) or an error of this one message.
      if (typeof result === 'object' && result.code !== 'ok') throw new Error(`not taken: ${result.code}: ${result.message}`);
      ++taken;
    }
  }
  console.log(`sent ${taken} messages to ${queue}`);
}

main().catch((error) => {
  console.error(`producer: ${error.message}`);
  process.exitCode = 1;
});
