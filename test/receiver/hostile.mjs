// An endpoint that means harm: answers that no honest HTTP server gives.
//
// Plain sockets rather than Node's HTTP server, which would not say such
// things. Listens on 127.0.0.1, on ports chosen by the system:
//
//   http, https     a request is answered as the first segment of its path says: ANSWERS below
//   h2, h2_goaway, h2_destroy
//                   HTTP/2, in the same way: STREAMS below; the latter two for what
//                   ends a whole connection, with all that others ask on it
//   h2_garbage      agrees to HTTP/2 by ALPN, and then does not speak it
//   close, tls_close, tls_garbage, tls_hang
//                   a connection that is closed when it is made, closed when the
//                   client has begun TLS, answered with something else, not at all
//   expired, wronghost, selfsigned    https with that certificate
//   internal        what must never be reached: it counts its connections
//
//   node hostile.mjs --certs DIR --ready-file FILE
//
// The ready file holds the ports by name as one line of JSON. GET /_count on
// `http` answers {"internal": connections so far}. It ends when its standard
// input closes.

import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';

const { values: options } = parseArgs({
  options: { certs: { type: 'string' }, 'ready-file': { type: 'string' } },
});

const MB = 1024 * 1024;
const bomb = gzipSync(Buffer.alloc(64 * MB)); // 64 kB that become 64 MB
const ports = {};
let internal = 0;

// The same again and again: `times` times, or until the other side goes away.
function repeat(socket, bytes, times = Infinity, then = () => {}) {
  const more = () => {
    for (; times > 0 && !socket.destroyed; times--) if (!socket.write(bytes)) return;
    socket.off('drain', more);
    if (!socket.destroyed) then();
  };
  socket.on('drain', more);
  more();
}

// A byte a second, from the text and then dots.
function drip(socket, text) {
  let n = 0;
  const timer = setInterval(() => socket.write(text[n++] ?? '.'), 1000);
  socket.on('close', () => clearInterval(timer));
}

const OK = 'HTTP/1.1 200 OK\r\n';
const line = (n) => `X-More: ${'m'.repeat(n)}\r\n`;

const ANSWERS = {
  ok: (s) => s.write(`${OK}Content-Length: 2\r\n\r\nok`),
  // without end, or nearly so
  'endless-body': (s) => s.write(`${OK}\r\n`) && repeat(s, 'b'.repeat(65536)),
  'endless-headers': (s) => s.write(OK) && repeat(s, line(1000)),
  'headers-100mb': (s) => s.write(OK) && repeat(s, line(1022), 100 * 1024, () => s.end('Content-Length: 0\r\n\r\n')),
  'header-line': (s) => s.write(`${OK}X-More: `) && repeat(s, 'h'.repeat(65536), 1600, () => s.end('\r\n\r\n')),
  'status-line': (s) => s.write('HTTP/1.1 200 ') && repeat(s, 's'.repeat(65536)),
  'interim-flood': (s) => repeat(s, 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(1000)),
  'early-hints-flood': (s) => repeat(s, 'HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n'.repeat(100)),
  'endless-chunks': (s) => s.write(`${OK}Transfer-Encoding: chunked\r\n\r\n`) && repeat(s, `1000\r\n${'c'.repeat(4096)}\r\n`),
  'chunk-extension': (s) => s.write(`${OK}Transfer-Encoding: chunked\r\n\r\n1;`) && repeat(s, 'e'.repeat(65536)),
  'endless-trailers': (s) => s.write(`${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n`) && repeat(s, line(1000)),
  // slow
  'drip-status': (s) => drip(s, OK),
  'drip-headers': (s) => s.write(OK) && drip(s, line(1000)),
  'drip-body': (s) => s.write(`${OK}Content-Length: 1000\r\n\r\n`) && drip(s, ''),
  hang: () => {},
  // closed too early
  'close-request': (s) => s.end(),
  'reset-request': (s) => s.resetAndDestroy(),
  'close-status': (s) => s.end('HTTP/1.1 2'),
  'close-status-line': (s) => s.end('HTTP/1.1 200 OK'),
  'close-headers': (s) => s.end(`${OK}Content-Le`),
  'close-after-header': (s) => s.end(`${OK}Content-Type: text/plain\r\n`),
  'close-after-interim': (s) => s.end('HTTP/1.1 103 Early Hints\r\n\r\n'),
  'close-body': (s) => s.end(`${OK}Content-Length: 1000\r\n\r\nhalf of it`),
  'close-chunk': (s) => s.end(`${OK}Transfer-Encoding: chunked\r\n\r\n100\r\nhalf of it`),
  'close-before-last-chunk': (s) => s.end(`${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n`),
  // lengths
  'length-too-small': (s) => s.write(`${OK}Content-Length: 2\r\n\r\nok, and HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n`),
  'length-too-large': (s) => s.write(`${OK}Content-Length: 1000\r\n\r\nok`),
  'length-differs': (s) => s.end(`${OK}Content-Length: 2\r\nContent-Length: 500\r\n\r\nok`),
  'length-differs-too': (s) => s.end(`${OK}Content-Length: 500\r\nContent-Length: 2\r\n\r\nok`),
  'length-negative': (s) => s.end(`${OK}Content-Length: -2\r\n\r\nok`),
  'length-no-number': (s) => s.end(`${OK}Content-Length: two\r\n\r\nok`),
  'length-and-chunks': (s) => s.write(`${OK}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`),
  // not HTTP
  ssh: (s) => s.end('SSH-2.0-OpenSSH_9.2\r\n'),
  noise: (s) => s.end(Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 167 + 13) % 256))),
  'chunk-no-number': (s) => s.end(`${OK}Transfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n`),
  'chunk-too-large': (s) => s.end(`${OK}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nok\r\n0\r\n\r\n`),
  'chunk-negative': (s) => s.end(`${OK}Transfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n`),
  'unknown-coding': (s) => s.end(`${OK}Transfer-Encoding: nonsense\r\n\r\nok`),
  'switch-protocols': (s) => s.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: nonsense\r\n\r\nok'),
  // HTTP, with a body that is no text
  dirty: (s) => s.end(Buffer.concat([Buffer.from(`${OK}Content-Length: 9\r\n\r\n`), Buffer.from('6100ff62c0afeda080', 'hex')])),
  folded: (s) => s.end(`HTTP/1.1 200 OK\r\n of: nothing\r\nContent-Length: 2\r\n\r\nok`),
  'status-too-large': (s) => s.end('HTTP/2 99999 No\r\nContent-Length: 0\r\n\r\n'),
  'status-negative': (s) => s.end('HTTP/2 -200 No\r\nContent-Length: 0\r\n\r\n'),
  'nul-header': (s) => s.end(`${OK}X-Nul: a\0b\r\nContent-Length: 2\r\n\r\nok`),
  // compressed, though nobody asked
  'gzip-bomb': (s) => s.end(Buffer.concat([Buffer.from(`${OK}Content-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n\r\n`), bomb])),
  'gzip-transfer': (s) => s.end(Buffer.concat([Buffer.from(`${OK}Transfer-Encoding: gzip\r\n\r\n`), bomb])),
  // elsewhere
  'redirect-internal': (s) => s.write(`HTTP/1.1 307 There\r\nLocation: http://127.0.0.1:${ports.internal}/\r\nContent-Length: 0\r\n\r\n`),
  'redirect-metadata': (s) =>
    s.write('HTTP/1.1 302 There\r\nLocation: http://169.254.169.254/latest/meta-data/\r\nContent-Length: 0\r\n\r\n'),
  'redirect-file': (s) => s.write('HTTP/1.1 301 There\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n'),
  // not hostile: for the test
  utf8: (s) => s.write(`${OK}Content-Length: 4\r\n\r\nzoë`),
  _count: (s) => {
    const body = JSON.stringify({ internal });
    s.end(`${OK}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
  },
};

let newest; // TLS socket of an HTTP/2 session, which Node otherwise keeps to itself

const STREAMS = {
  'h2-ok': (st) => st.respond({ ':status': 200 }) ?? st.end('ok'),
  'h2-reset': (st) => st.close(http2.constants.NGHTTP2_INTERNAL_ERROR),
  'h2-refused': (st) => st.close(http2.constants.NGHTTP2_REFUSED_STREAM),
  'h2-calm': (st) => st.close(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM),
  'h2-reset-body': (st) => {
    // with a length, for Node may end the stream before it resets it; and once the other side has taken in what was
    // sent, which it says by answering a ping: of a response that comes with its reset, libcurl may not see the status
    st.respond({ ':status': 200, 'content-length': 1000 });
    st.write('half of it', () => st.session.ping(() => st.destroy(new Error('on purpose'))));
  },
  'h2-goaway': (st) => {
    st.session.goaway(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM, 0);
    st.session.destroy();
  },
  'h2-destroy': () => newest.destroy(),
  'h2-hang': () => {},
  'h2-endless-body': (st) => st.respond({ ':status': 200 }) ?? repeat(st, 'b'.repeat(65536)),
  'h2-dirty': (st) => st.respond({ ':status': 200 }) ?? st.end(Buffer.from('6100ff62', 'hex')),
};

// Answer each request that comes over this connection when it is there as a whole.
function onConnection(socket) {
  let bytes = '';
  socket.on('error', () => {}); // the other side may go away at any moment
  socket.on('data', (chunk) => {
    bytes += chunk.toString('latin1');
    const head = bytes.indexOf('\r\n\r\n');
    if (head < 0) return;
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(bytes)?.[1] ?? 0);
    if (bytes.length < head + 4 + length) return;
    const name = /^\S+ \/([^/? ]*)/.exec(bytes)?.[1];
    bytes = '';
    (ANSWERS[name] ?? ANSWERS.ok)(socket);
  });
}

function onStream(stream, headers) {
  stream.on('error', () => {});
  stream.resume();
  (STREAMS[headers[':path'].split('/')[1]] ?? STREAMS['h2-ok'])(stream);
}

const credentials = (name) => ({
  cert: readFileSync(join(options.certs, `${name}.pem`)),
  key: readFileSync(join(options.certs, `${name}.key`)),
});
const secure = (name, handler = onConnection, more = {}) => tls.createServer({ ...credentials(name), ...more }, handler);
const overHttp2 = () =>
  http2
    .createSecureServer(credentials('server'))
    .on('secureConnection', (socket) => (newest = socket))
    .on('session', (session) => session.on('error', () => {}))
    .on('stream', onStream);
const raw = (handler) =>
  net.createServer((socket) => {
    socket.on('error', () => {});
    handler(socket);
  });

const servers = {
  http: net.createServer(onConnection),
  https: secure('server'),
  h2: overHttp2(),
  h2_goaway: overHttp2(),
  h2_destroy: overHttp2(),
  h2_garbage: secure('server', (s) => s.on('error', () => {}).end('this is no frame, nor will it become one\r\n'.repeat(100)), {
    ALPNProtocols: ['h2'],
  }),
  close: raw((s) => s.destroy()),
  tls_close: raw((s) => s.once('data', () => s.end())),
  tls_garbage: raw((s) => s.once('data', () => s.end('220 mail.example ESMTP\r\n'))),
  tls_hang: raw((s) => s.resume()),
  expired: secure('expired'),
  wronghost: secure('wronghost'),
  selfsigned: secure('selfsigned'),
  internal: raw((s) => {
    internal++;
    s.end(`${OK}Content-Length: 0\r\n\r\n`);
  }),
};
for (const [name, server] of Object.entries(servers)) {
  server.on('tlsClientError', () => {});
  server.on('sessionError', () => {});
  await new Promise((ready) => server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, ready));
  ports[name] = server.address().port;
}
// by renaming, so that a reader never sees half of it
writeFileSync(options['ready-file'] + '.tmp', JSON.stringify(ports) + '\n');
renameSync(options['ready-file'] + '.tmp', options['ready-file']);

process.stdin.resume();
process.stdin.on('error', () => process.exit(0));
process.stdin.on('end', () => process.exit(0));
