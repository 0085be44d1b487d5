// Receives messages from a queue, works on each, and acks those that are done.
//
// Usage: node consumer.js [QUEUE] [COUNT]      DMQ_ENDPOINT (tcp://127.0.0.1:7310)
//
// COUNT 0 (the default) goes on until Ctrl-C. A message whose work fails is given back with a delay that grows with
// its deliveries.
const { setTimeout: pause } = require('node:timers/promises');
const { encode, decode } = require('@msgpack/msgpack');
const zmq = require('zeromq');

const endpoint = process.env.DMQ_ENDPOINT || 'tcp://127.0.0.1:7310';
const queue = process.argv[2] || 'hello';
const count = Number(process.argv[3] || 0);
const waitMs = 20000, patienceMs = 5000, tries = 10;

function connect() {
  const socket = new zmq.Request({ linger: 0, receiveTimeout: waitMs + patienceMs, sendTimeout: patienceMs });
  socket.connect(endpoint);
  return socket;
}

let socket = connect();

// One request until it is answered: its result. Every operation used here may be repeated.
async function ask(op, payload, options = {}) {
  let trouble = `no answer from ${endpoint}`;
  for (let i = 0, pauseMs = 100; i < tries; ++i, pauseMs = Math.min(2 * pauseMs, 5000)) {
    try {
      await socket.send([encode({ v: 1, op, queue, ...options }), encode(payload)]);
      const [reply, result] = (await socket.receive()).map((frame) => decode(frame));
      if (reply.code === 'ok') return result;
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
}

async function work(message) {
  console.log(`${message.id} (delivery ${message.deliveries}): ${Buffer.from(message.body).toString()}`);
}

async function main() {
  for (let done = 0; count === 0 || done < count; ) {
    const finished = [];
    const max = count === 0 ? 100 : Math.min(100, count - done);
    for (const message of await ask('receive', null, { max, wait_ms: waitMs })) {
      try {
        await work(message);
        finished.push(message.receipt);
      } catch (error) {
        console.error(`consumer: ${message.id} goes back: ${error.message}`);
        await ask('nack', [message.receipt], { delay_ms: Math.min(1000 * 2 ** Math.min(message.deliveries, 10), 600000) });
      }
    }
    for (const result of finished.length > 0 ? await ask('ack', finished) : []) {
      if (result === 'ok') ++done;
      else console.error(`consumer: ${result.code}: ${result.message}`); // stale: the message comes again
    }
  }
}

main()
  .catch((error) => {
    console.error(`consumer: ${error.message}`);
    process.exitCode = 1;
  })
  .finally(() => socket.close());
