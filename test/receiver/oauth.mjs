// An API that wants OAuth 2 tokens, and the server that issues them (RFC 6749, client credentials).
//
//   node oauth.mjs --dir DIR --client ID --secret SECRET
//
// POST /token        the next token, for the right client; asks for the scope "events"
// POST /api          200 with the newest token, if it has not been revoked or grown old, else 401
// POST /_control     {"life": SECONDS} of tokens issued from now on, {"revoke": true}, {"down": BOOLEAN} the token endpoint
//
// Listens on a port of 127.0.0.1 that the system chooses, writes {"port"} to DIR/ready, and a line to DIR/log for
// every request but those that steer: path, status, and the token (issued or used). Ends when its standard input closes.

import { randomBytes } from 'node:crypto';
import { appendFileSync, renameSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: { dir: { type: 'string' }, client: { type: 'string' }, secret: { type: 'string' } },
});
const encoded = (text) => new URLSearchParams({ '': text }).toString().slice(1);
const right = 'Basic ' + Buffer.from(`${encoded(options.client)}:${encoded(options.secret)}`).toString('base64');

let life = 3600;
let down = false;
let token = null;
let until = 0;

function issue(request, body) {
  const form = new URLSearchParams(body);
  if (down) return [503, { error: 'temporarily_unavailable' }];
  if (request.headers.authorization !== right) return [401, { error: 'invalid_client' }];
  if (form.get('grant_type') !== 'client_credentials' || form.get('scope') !== 'events') return [400, { error: 'invalid_request' }];
  token = randomBytes(24).toString('base64url');
  until = Date.now() + life * 1000;
  return [200, { access_token: token, token_type: 'Bearer', expires_in: life }, token];
}

function use(request) {
  const used = (request.headers.authorization ?? '').replace(/^Bearer /, '');
  return [used === token && Date.now() < until ? 200 : 401, {}, used];
}

const server = http.createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  let answer;
  if (request.url === '/_control') {
    const wanted = JSON.parse(body);
    life = wanted.life ?? life;
    down = wanted.down ?? down;
    if (wanted.revoke) until = 0;
    answer = [200, {}];
  } else {
    answer = request.url === '/token' ? issue(request, body) : use(request);
    appendFileSync(join(options.dir, 'log'), `${request.url} ${answer[0]} ${answer[2] ?? ''}\n`);
  }
  response.writeHead(answer[0], { 'Content-Type': 'application/json' }).end(JSON.stringify(answer[1]));
});
server.listen(0, '127.0.0.1', () => {
  writeFileSync(join(options.dir, 'ready.new'), JSON.stringify({ port: server.address().port }));
  renameSync(join(options.dir, 'ready.new'), join(options.dir, 'ready'));
});
process.stdin.on('end', () => process.exit(0)).resume();
