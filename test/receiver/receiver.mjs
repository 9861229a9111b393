// The endpoint that the tests, the bench and the demo deliver to.
//
// Listens on 127.0.0.1 (ports chosen by the system) once with TLS, offering
// HTTP/2 and HTTP/1.1, and once without. Every request is written to
// DIR/requests.jsonl, one JSON object a line, *before* it is answered: a
// request that was answered is always in the file. How a request is answered
// follows from its path:
//
//   /status/NNN         that status                /hang           never
//   /slow/MS            200 after MS milliseconds  /drip           200, then a byte a second
//   /flaky/PERCENT/SEED 500 for so many, repeatable for a seed
//   /random/SEED        200, 500, 503, never, or connection destroyed, repeatable for a seed
//   /erratic/PERCENT/SEED/MS   the same, answered after up to so many milliseconds
//   /chaos/PERCENT/SEED for so many one of 500, 404, 503, no answer, reset and closed early
//   /poison/PERCENT     422 for so many of the webhook-ids, whenever they come
//   /fail-first/N       500 for the first N requests of each webhook-id, then 200
//   /redirect           302 to /ok/redirected      /big/BYTES      200 and so many bytes
//   /narrow             200; over HTTP/2, the connection's next stream is refused before any of its body was taken
//   /reset              connection destroyed       /close-early    half a response, then closed
//   /hold               200 when released (see below)
//   /cookie/NNN         that status, with x-request-id: r-1 and a cookie
//   /json/NNN/TEXT      that status and JSON body, given in base64url
//   /unicode            200 "Zoë 🦊"
//   /count/NAME         200 "ok"; counted by path, and not recorded
//   anything else       200 "ok"
//
// More path segments may follow (/status/500/crm), to tell endpoints apart.
// On the plain listener a test may ask and steer:
//
//   GET  /_control/count?path=P                       {"count": N}: of all, or of those to P and below
//   GET  /_control/requests?since=N                   the requests after the first N, as JSON lines
//   GET  /_control/concurrent?path=P[&reset=1]        {"now": N, "most": M}: requests under way at P and below it,
//                                                     and at most so far, or since the last reset
//   POST /_control/release {"path": P, "n": N}        answer the first N held at P and below it
//   GET  /_control/counted?path=P                     {"requests": N, "ok": N, "distinct": N}: of P below /count;
//                                                     ok were answered with 200, distinct are their webhook-ids
//   POST /_control/mode {"path": P, "behave": B}      P and all below it now behave as B; B null: as before
//
// When ready it prints {"port", "http_port", "pid"} as one line, and writes the
// same to --ready-file. It ends when its standard input closes (so that it
// cannot outlive the test that holds the other end) or after --ttl seconds.
//
//   node receiver.mjs --dir DIR --cert FILE --key FILE [--secret whsec_...]...
//        [--ready-file FILE] [--ttl SECONDS] [--ignore-stdin] [--no-http2] [--port PORT]
//
// A line of requests.jsonl: n (from 1), at (Unix milliseconds, with fractions,
// when the head of the request had arrived), conn (number of the connection),
// method, path, httpVersion, headers (names in lower case), rawHeaders (HTTP/1
// only: names and values as received), body, status (null where none was
// sent), beside and beside_entity (requests to the same path, and of them those
// with the same entity_id, that had come and not been answered), tls, and with
// --secret also verified and error.

import { createHash } from 'node:crypto';
import { openSync, writeSync, writeFileSync, renameSync, readFileSync, mkdirSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    dir: { type: 'string' },
    cert: { type: 'string' },
    key: { type: 'string' },
    secret: { type: 'string', multiple: true, default: [] },
    'ready-file': { type: 'string' },
    ttl: { type: 'string', default: '0' },
    'ignore-stdin': { type: 'boolean', default: false },
    'no-http2': { type: 'boolean', default: false },
    port: { type: 'string', default: '0' }, // of the TLS listener, where a network of its own keeps it free
  },
});
for (const needed of ['dir', 'cert', 'key']) {
  if (!options[needed]) {
    console.error(`receiver: --${needed} is missing`);
    process.exit(2);
  }
}

// ---------------------------------------------------------------- the record

mkdirSync(options.dir, { recursive: true });
const file = openSync(join(options.dir, 'requests.jsonl'), 'a');
const recorded = []; // every line written, for /_control/requests
const perPath = new Map(); // path -> how many of them
let waiting = []; // lines not yet written, each with what answers its request

// All requests of one turn of the event loop share one write.
function record(entry, answer) {
  entry.n = recorded.length + waiting.length + 1;
  if (waiting.push({ path: entry.path, line: JSON.stringify(entry) + '\n', answer }) === 1) setImmediate(flush);
}

function flush() {
  const batch = waiting;
  waiting = [];
  const bytes = Buffer.from(batch.map((w) => w.line).join(''));
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
  for (const { path, line, answer } of batch) {
    recorded.push(line);
    perPath.set(path, (perPath.get(path) ?? 0) + 1);
    answer();
  }
}

// How many are recorded: of all, or of those to a path and what is below it.
function countOf(path) {
  if (path === null) return recorded.length;
  let n = 0;
  for (const [at, times] of perPath) if (at === path || /^[/?]/.test(at.slice(path.length)) && at.startsWith(path)) n += times;
  return n;
}

// Date.now() has whole milliseconds only. Find its offset to the monotonic
// clock at the moment it ticks, for fractions that agree with other processes.
// A look that was interrupted finds too little, so the largest of several counts.
const offsetAtTick = () => {
  const start = Date.now();
  let now;
  while ((now = Date.now()) === start);
  return now - performance.now();
};
const clockOffset = Math.max(...Array.from({ length: 10 }, offsetAtTick));
const nowMs = () => Math.round((clockOffset + performance.now()) * 1000) / 1000;

let verify = () => ({});
if (options.secret.length > 0) {
  const { Webhook } = await import('standardwebhooks');
  const webhooks = options.secret.map((secret) => new Webhook(secret));
  verify = (body, headers) => {
    let error;
    for (const webhook of webhooks) {
      try {
        webhook.verify(body, headers);
        return { verified: true };
      } catch (e) {
        error = e.message;
      }
    }
    return { verified: false, error };
  };
}

// Requests that have come and have not been answered: by path, and by path and entity.
const unanswered = new Map();

function comes(req, res, path, body) {
  const entity = /^\{"entity_id":("(?:[^"\\]|\\.)*")/.exec(body)?.[1];
  const keys = entity === undefined ? [path] : [path, `${path} ${entity}`];
  const beside = keys.map((key) => unanswered.get(key) ?? 0);
  keys.forEach((key, i) => unanswered.set(key, beside[i] + 1));
  let gone = false;
  const goes = () => {
    if (gone) return;
    gone = true;
    for (const key of keys) {
      if (unanswered.get(key) === 1) unanswered.delete(key);
      else unanswered.set(key, unanswered.get(key) - 1);
    }
  };
  // whoever sent it knows the answer when it has its last byte, so it counts as answered just before
  const end = res.end;
  res.end = (...args) => {
    goes();
    return end.apply(res, args);
  };
  res.on('close', goes);
  return { beside: beside[0], beside_entity: beside[1] };
}

// Paths below /count: too many requests to remember each.
const tallies = new Map();

function tally(path) {
  if (!tallies.has(path)) tallies.set(path, { requests: 0, ok: 0, ids: new Set() });
  return tallies.get(path);
}

function count(path, req, status) {
  const t = tally(path);
  t.requests++;
  if (status !== 200) return;
  t.ok++;
  t.ids.add(Number(/\d+$/.exec(req.headers['webhook-id'] ?? '')?.[0]));
}

// ------------------------------------------------------------- the behaviour

const modes = new Map(); // path -> the path it behaves as
const seen = new Map(); // /fail-first: path and webhook-id -> requests so far
const dice = new Map(); // /flaky: path -> state of its random numbers

const held = []; // /hold: those not yet released, in order

// A path and all above it: /a/b -> /, /a, /a/b
function* above(path) {
  const parts = path.split('/').filter(Boolean);
  for (let n = 0; n <= parts.length; n++) yield '/' + parts.slice(0, n).join('/');
}

const underWay = new Map(); // path -> {now, most}, for each path and all above it

function concurrency(path) {
  if (!underWay.has(path)) underWay.set(path, { now: 0, most: 0 });
  return underWay.get(path);
}

function nowUnderWay(path, res) {
  for (const p of above(path)) {
    const c = concurrency(p);
    c.most = Math.max(c.most, ++c.now);
  }
  // it has ended before the client may see that: the next one may come before our 'close' does
  res.ended = () => {
    for (const p of above(path)) concurrency(p).now--;
    res.ended = () => {};
  };
  res.once('close', () => res.ended());
}

// The path whose behaviour applies: the longest steered one at or above this.
function behaviour(path) {
  let best = '';
  for (const steered of modes.keys()) {
    const covers = path === steered || path.startsWith(steered.replace(/\/$/, '') + '/');
    if (covers && steered.length > best.length) best = steered;
  }
  return best ? modes.get(best) : path;
}

// mulberry32: a small generator whose sequence a seed repeats.
function roll(path, seed) {
  const state = ((dice.has(path) ? dice.get(path) : seed) + 0x6d2b79f5) | 0;
  dice.set(path, state);
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

function send(res, status, body, headers = {}) {
  res.writeHead(status, { 'content-type': 'text/plain', 'content-length': Buffer.byteLength(body), ...headers });
  res.ended?.();
  res.end(body);
}

function destroy(req) {
  if (req.stream) req.stream.session.destroy();
  else if (req.socket.resetAndDestroy && !req.socket.encrypted) req.socket.resetAndDestroy();
  else req.socket.destroy();
}

// What will be done about a request: the status to record, and how to answer.
function decide(req, res, path) {
  return decideAs(behaviour(path), req, res, path);
}

function decideAs(as, req, res, path) {
  const [, kind, first, second, third] = as.split('/');
  switch (kind) {
    case 'status': {
      const status = Number(first) || 500;
      return { status, answer: () => send(res, status, status === 204 || status === 304 ? '' : `status ${status}\n`) };
    }
    case 'cookie': {
      const status = Number(first);
      return { status, answer: () => send(res, status, '', { 'x-request-id': 'r-1', 'set-cookie': 'session=secret' }) };
    }
    case 'json': {
      const status = Number(first);
      const body = Buffer.from(second, 'base64url').toString();
      return { status, answer: () => send(res, status, body, { 'content-type': 'application/json' }) };
    }
    case 'hold':
      return { status: 200, answer: () => held.push({ path, answer: () => send(res, 200, 'ok\n') }) };
    case 'hang':
      return { status: null, answer: () => {} };
    case 'slow':
      return { status: 200, answer: () => setTimeout(send, Number(first), res, 200, 'ok\n') };
    case 'drip':
      return {
        status: 200,
        answer: () => {
          res.writeHead(200, { 'content-type': 'text/plain' });
          const timer = setInterval(() => res.write('.'), 1000);
          res.on('close', () => clearInterval(timer));
        },
      };
    case 'flaky': {
      const status = roll(path, Number(second) | 0) * 100 < Number(first) ? 500 : 200;
      return { status, answer: () => send(res, status, `${status}\n`) };
    }
    case 'random': {
      const dice = roll(path, Number(first) | 0);
      if (dice < 0.03) return { status: null, answer: () => {} };
      if (dice < 0.08) return { status: null, answer: () => destroy(req) };
      const status = dice < 0.12 ? 503 : dice < 0.2 ? 500 : 200;
      return { status, answer: () => send(res, status, `${status}\n`) };
    }
    case 'erratic': {
      const status = roll(path, Number(second) | 0) * 100 < Number(first) ? 500 : 200;
      const ms = Math.floor(roll(path, 0) * (Number(third) + 1));
      return { status, answer: () => (ms ? setTimeout(send, ms, res, status, `${status}\n`) : send(res, status, `${status}\n`)) };
    }
    case 'chaos': {
      const fates = ['/status/500', '/status/404', '/status/503', '/hang', '/reset', '/close-early'];
      const fate = Math.floor((roll(path, Number(second) | 0) * 100 * fates.length) / Number(first));
      return decideAs(fates[fate] ?? '/ok', req, res, path);
    }
    case 'poison': {
      const hash = createHash('sha1').update(String(req.headers['webhook-id'])).digest().readUInt32BE();
      return decideAs((hash / 2 ** 32) * 100 < Number(first) ? '/status/422' : '/ok', req, res, path);
    }
    case 'fail-first': {
      const key = `${path} ${req.headers['webhook-id']}`;
      const count = (seen.get(key) ?? 0) + 1;
      seen.set(key, count);
      const status = count <= Number(first) ? 500 : 200;
      return { status, answer: () => send(res, status, `request ${count}\n`) };
    }
    case 'redirect':
      return { status: 302, answer: () => send(res, 302, '', { location: '/ok/redirected' }) };
    case 'big':
      return { status: 200, answer: () => send(res, 200, 'x'.repeat(Number(first))) };
    case 'unicode':
      return { status: 200, answer: () => send(res, 200, 'Zoë 🦊') };
    case 'narrow': {
      const session = req.stream?.session;
      const ok = () => send(res, 200, 'ok\n');
      const narrow = () => {
        refusing.add(session);
        session.settings({ initialWindowSize: 0 }, ok);
      };
      return { status: 200, answer: session ? narrow : ok };
    }
    case 'reset':
      return { status: null, answer: () => destroy(req) };
    case 'close-early':
      return {
        status: 200,
        answer: () => {
          res.writeHead(200, { 'content-type': 'text/plain', 'content-length': 1000 });
          res.write('half of it');
          setTimeout(destroy, 20, req);
        },
      };
    default:
      return { status: 200, answer: () => send(res, 200, 'ok\n') };
  }
}

// --------------------------------------------------------------- connections

let connections = 0;
const numbers = new WeakMap(); // socket or HTTP/2 session -> its number
const tlsInfo = new WeakMap();
const refusing = new WeakSet(); // HTTP/2 sessions whose streams are refused

function number(connection) {
  if (!numbers.has(connection)) numbers.set(connection, ++connections);
  return numbers.get(connection);
}

function tlsOf(connection, socket) {
  if (!socket.encrypted) return null;
  if (!tlsInfo.has(connection)) {
    tlsInfo.set(connection, {
      protocol: socket.getProtocol(),
      cipher: socket.getCipher()?.name,
      alpn: socket.alpnProtocol || null,
      servername: socket.servername || null,
      resumed: socket.isSessionReused(),
    });
  }
  return tlsInfo.get(connection);
}

function onRequest(req, res) {
  const at = nowMs();
  const connection = req.stream ? req.stream.session : req.socket;
  if (refusing.has(connection)) {
    req.stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
    return;
  }
  const conn = number(connection);
  const tls = tlsOf(connection, req.stream ? connection.socket : req.socket);
  const chunks = [];
  if (!req.url.startsWith('/_control/')) nowUnderWay(req.url.split('?')[0], res);
  const ignore = () => {}; // the other side may go away at any moment
  req.on('error', ignore);
  res.on('error', ignore);
  req.on('data', (chunk) => chunks.push(chunk));
  req.on('end', () => {
    const body = Buffer.concat(chunks).toString('utf8');
    const path = req.url.split('?')[0];
    if (!tls && path.startsWith('/_control/')) {
      control(req, res, body);
      return;
    }
    const beside = comes(req, res, path, body);
    const { status, answer } = decide(req, res, path);
    if (path.startsWith('/count/')) {
      count(path, req, status);
      answer();
      return;
    }
    const entry = { n: 0, at, conn, method: req.method, path: req.url, httpVersion: req.httpVersion };
    entry.headers = req.headers;
    if (!req.stream) entry.rawHeaders = req.rawHeaders;
    Object.assign(entry, { body, status, ...beside, tls }, verify(body, req.headers));
    record(entry, answer);
  });
}

function control(req, res, body) {
  const url = new URL(req.url, 'http://localhost');
  const json = (value) => send(res, 200, JSON.stringify(value) + '\n', { 'content-type': 'application/json' });
  switch (`${req.method} ${url.pathname}`) {
    case 'GET /_control/count':
      return json({ count: countOf(url.searchParams.get('path')) });
    case 'GET /_control/requests':
      return send(res, 200, recorded.slice(Number(url.searchParams.get('since') ?? 0)).join(''), {
        'content-type': 'application/jsonl',
      });
    case 'GET /_control/concurrent': {
      const c = concurrency(url.searchParams.get('path') ?? '/');
      const answer = { ...c };
      if (url.searchParams.get('reset')) c.most = c.now;
      return json(answer);
    }
    case 'POST /_control/release': {
      const { path, n } = JSON.parse(body);
      const covered = (h) => h.path === path || h.path.startsWith(path + '/');
      const now = held.filter(covered).slice(0, n);
      for (const h of now) held.splice(held.indexOf(h), 1);
      for (const h of now) h.answer();
      return json({ released: now.length });
    }
    case 'GET /_control/counted': {
      const { requests, ok, ids } = tally(url.searchParams.get('path'));
      return json({ requests, ok, distinct: ids.size });
    }
    case 'POST /_control/mode': {
      let mode;
      try {
        mode = JSON.parse(body);
      } catch {
        mode = null;
      }
      if (typeof mode?.path !== 'string') return send(res, 400, 'expected {"path": ..., "behave": ...}\n');
      if (mode.behave == null) modes.delete(mode.path);
      else modes.set(mode.path, mode.behave);
      return json(Object.fromEntries(modes));
    }
    default:
      return send(res, 404, 'no such control\n');
  }
}

// ------------------------------------------------------------------ listening

const credentials = { cert: readFileSync(options.cert), key: readFileSync(options.key) };
const secure = options['no-http2']
  ? https.createServer(credentials, onRequest)
  : http2.createSecureServer({ ...credentials, allowHTTP1: true }, onRequest);
const plain = http.createServer(onRequest);

for (const server of [secure, plain]) {
  // Idle connections stay open longer than any test lasts: whoever closes one, it is not the receiver.
  server.keepAliveTimeout = 600_000;
  server.headersTimeout = 0;
  server.requestTimeout = 0;
  server.timeout = 0;
  server.on('clientError', (_, socket) => socket.destroy());
  server.on('sessionError', () => {});
  server.on('tlsClientError', () => {}); // a client that refuses our certificate is often the point of the test
}

await Promise.all(
  [[secure, Number(options.port)], [plain, 0]].map(
    ([server, port]) => new Promise((ready) => server.listen({ port, host: '127.0.0.1', backlog: 4096 }, ready)),
  ),
);
const ready = JSON.stringify({ port: secure.address().port, http_port: plain.address().port, pid: process.pid });
if (options['ready-file']) {
  // by renaming, so that a reader never sees half of it
  writeFileSync(options['ready-file'] + '.tmp', ready + '\n');
  renameSync(options['ready-file'] + '.tmp', options['ready-file']);
}
console.log(ready);

if (!options['ignore-stdin']) {
  process.stdin.resume();
  process.stdin.on('error', () => process.exit(0));
  process.stdin.on('end', () => process.exit(0));
}
if (Number(options.ttl) > 0) setTimeout(() => process.exit(0), Number(options.ttl) * 1000);
process.stdout.on('error', () => {}); // nobody has to read our one line
