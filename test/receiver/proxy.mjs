// A forward proxy that does CONNECT, and nothing else, for whoever has the right password.
//
//   node proxy.mjs --dir DIR --user USER --password PASSWORD
//
// Listens on a port of 127.0.0.1 that the system chooses, writes {"port"} to DIR/ready, and a line to DIR/log
// for every request: the status, the authority asked for, and the names of the headers that came with it.
// Ends when its standard input closes.

import { appendFileSync, renameSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: { dir: { type: 'string' }, user: { type: 'string' }, password: { type: 'string' } },
});
const right = 'Basic ' + Buffer.from(`${options.user}:${options.password}`).toString('base64');

function note(status, request) {
  appendFileSync(join(options.dir, 'log'), `${status} ${request.url} ${Object.keys(request.headers).sort()}\n`);
}

const server = http.createServer((request, response) => {
  note(405, request);
  response.writeHead(405).end();
});
server.on('connect', (request, socket, head) => {
  socket.on('error', () => socket.destroy());
  if (request.headers['proxy-authorization'] !== right) {
    note(407, request);
    socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="p"\r\nContent-Length: 0\r\n\r\n');
    return;
  }
  const { hostname, port } = new URL(`http://${request.url}`);
  const there = net.connect(Number(port), hostname, () => {
    note(200, request);
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
    there.write(head);
    there.pipe(socket).pipe(there);
  });
  there.on('error', () => socket.destroy());
});
server.listen(0, '127.0.0.1', () => {
  writeFileSync(join(options.dir, 'ready.new'), JSON.stringify({ port: server.address().port }));
  renameSync(join(options.dir, 'ready.new'), join(options.dir, 'ready'));
});
process.stdin.on('end', () => process.exit(0)).resume();
