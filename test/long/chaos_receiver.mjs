// The endpoint of chaos.pl: whatever a receiver can do to a request, at random.
//
//   node chaos_receiver.mjs --dir DIR --cert FILE --key FILE --seed N
//
// Every request is a line of DIR/requests.jsonl when it has come whole:
//
//   {"n": 17, "path", "id": the header webhook-id, "body"}
//
// and another, {"answered": 17}, before the first byte of a 200 for it is
// written, or {"refused": 17} before one that says never to try again. So whatever
// the sender knows to be delivered or refused is in the file, and where the lines of
// two requests stand says which came first. A request that
// does not come whole has no line. A file DIR/calm ends all chaos. The port is in
// DIR/ready. It ends when its standard input closes.

import { existsSync, openSync, renameSync, writeFileSync, writeSync, readFileSync } from 'node:fs';
import https from 'node:https';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: { dir: { type: 'string' }, cert: { type: 'string' }, key: { type: 'string' }, seed: { type: 'string' } },
});

let state = Number(options.seed) >>> 0;
function random() {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
}

const file = openSync(join(options.dir, 'requests.jsonl'), 'a');
const note = (line) => writeSync(file, JSON.stringify(line) + '\n');

let calm = false;
let n = 0;

function refuse(res, mine, status) {
  note({ refused: mine });
  res.writeHead(status).end();
}

function ok(res, mine, headers = {}) {
  note({ answered: mine });
  res.writeHead(200, headers);
  res.end('ok');
}

// What becomes of a request that has come whole: the first whose share it falls into.
const fates = [
  [0.04, (req, res) => req.socket.destroy()], // not a word
  [0.02, (req, res, mine) => { // the answer is lost
    note({ answered: mine });
    req.socket.destroy();
  }],
  [0.03, (req, res) => res.writeHead(500).end('no')],
  [0.03, (req, res) => res.writeHead(503, { 'Retry-After': '1' }).end()],
  [0.02, (req, res) => res.writeHead(429, { 'Retry-After': '1' }).end()],
  [0.02, (req, res, mine) => refuse(res, mine, 404)],
  [0.01, (req, res, mine) => refuse(res, mine, 413)],
  [0.03, (req, res, mine) => setTimeout(() => ok(res, mine), 1500)], // later than anybody waits
  [0.05, (req, res, mine) => setTimeout(() => ok(res, mine), 300 * random())],
  [0.04, (req, res, mine) => ok(res, mine, { Connection: 'close' })],
  [0.03, (req, res, mine) => { // keep-alive, and then it is not
    const { socket } = req;
    ok(res, mine);
    res.on('finish', () => setTimeout(() => socket.destroy(), 5));
  }],
];

const server = https.createServer({ cert: readFileSync(options.cert), key: readFileSync(options.key), keepAliveTimeout: 1000 }, (req, res) => {
  res.on('error', () => {});
  req.on('error', () => {});
  calm ||= existsSync(join(options.dir, 'calm'));
  if (!calm && random() < 0.03) {
    req.socket.destroy(); // before the body
    return;
  }
  const parts = [];
  req.on('data', (part) => parts.push(part));
  req.on('end', () => {
    const mine = ++n;
    note({ n: mine, path: req.url, id: req.headers['webhook-id'], body: Buffer.concat(parts).toString() });
    let dice = random();
    for (const [share, fate] of calm ? [] : fates) {
      if (dice < share) {
        fate(req, res, mine);
        return;
      }
      dice -= share;
    }
    ok(res, mine);
  });
});
server.on('clientError', (e, socket) => socket.destroy());
server.listen(0, '127.0.0.1', () => {
  writeFileSync(join(options.dir, 'ready.new'), String(server.address().port));
  renameSync(join(options.dir, 'ready.new'), join(options.dir, 'ready'));
});
process.on('uncaughtException', (e) => console.error(e));
process.stdin.on('data', () => {}).on('close', () => process.exit(0));
