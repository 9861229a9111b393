// A receiver for a profile, as a program to copy: what it verifies is made of the profile's own
// columns, so one's own profiles have one, too. Nothing here touches the page: the tests run what
// it makes.

/** How a profile signs, taken apart; null: in a way that these programs do not know. */
export function schemeOf(p) {
  if (p.signature_algorithm === 'none') return { none: true };
  if (!['hmac-sha256', 'hmac-sha1', 'sha1'].includes(p.signature_algorithm)) return null;
  const entries = p.signature_separator ? p.signature_format.split(p.signature_separator) : [p.signature_format];
  const around = (name) => entries.find((e) => e.includes(`{${name}}`))?.split(`{${name}}`);
  const signature = around('signature');
  const timestamp = p.timestamp_header ? null : around('timestamp');
  const parts = [...p.signed_content.matchAll(/\{(id|timestamp|body)\}|[^{]+/g)].map((m) => m[1] ?? { text: m[0] });
  const dated = parts.includes('timestamp');
  const named = parts.includes('id');
  if (!signature || signature.some((s) => s.includes('{')) || (dated && !p.timestamp_header && !timestamp) || (named && !p.id_header)) return null;
  return {
    hash: p.signature_algorithm.replace('hmac-', ''),
    hmac: p.signature_algorithm.startsWith('hmac-'),
    base64: p.signature_encoding === 'base64',
    wrapped: p.secret_encoding === 'whsec',
    header: p.signature_header.toLowerCase(),
    separator: p.signature_separator || null,
    prefix: signature[0],
    suffix: signature[1],
    idHeader: named ? p.id_header.toLowerCase() : null,
    timeHeader: dated && p.timestamp_header ? p.timestamp_header.toLowerCase() : null,
    timePrefix: dated && !p.timestamp_header ? timestamp[0] : null,
    dated,
    parts,
  };
}

const js = (text) => `'${text.replace(/[\\']/g, '\\$&')}'`;
const c = (text) => JSON.stringify(text);
const lines = (...all) => `${all.flat(Infinity).filter((l) => l !== null && l !== false && l !== undefined).join('\n')}\n`;

function node(p, s) {
  const value = { id: 'id', timestamp: 'timestamp', body: 'body' };
  const updates = s.none ? '' : s.parts.map((part) => `.update(${value[part] ?? js(part.text)})`).join('');
  const made = s.none ? '' : s.hmac ? `createHmac('${s.hash}', key)${updates}` : `createHash('${s.hash}')${updates}.update(key)`;
  const right = s.none ? '' : [s.prefix && js(s.prefix), `${made}.digest('${s.base64 ? 'base64' : 'hex'}')`, s.suffix && js(s.suffix)].filter(Boolean).join(' + ');
  return lines(
    `// Receives webhooks of the profile ${p.name}:  ${s.none ? '' : 'WEBHOOK_SECRET=... '}PORT=8080 node receiver.mjs`,
    `import { createServer } from 'node:http';`,
    !s.none && `import { ${s.hmac ? 'createHmac' : 'createHash'}, timingSafeEqual } from 'node:crypto';`,
    '',
    s.none ? '// This profile does not sign: anybody can send such a request.' : [
      '// body: the raw bytes, exactly as they came',
      'function verify(secret, headers, body) {',
      `  const sent = headers[${js(s.header)}] ?? '';`,
      s.idHeader && `  const id = headers[${js(s.idHeader)}] ?? '';`,
      s.timeHeader && `  const timestamp = headers[${js(s.timeHeader)}] ?? '';`,
      s.timePrefix !== null && `  const timestamp = sent.split(${js(s.separator)}).find((e) => e.startsWith(${js(s.timePrefix)}))?.slice(${s.timePrefix.length}) ?? '';`,
      s.dated && `  if (!/^\\d+$/.test(timestamp) || Math.abs(Date.now() / 1000 - timestamp) > 300) return false; // too old`,
      s.wrapped ? `  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');` : '  const key = secret;',
      `  const right = Buffer.from(${right});`,
      s.separator && '  // one entry for each secret that is live: any may match',
      `  return ${s.separator ? `sent.split(${js(s.separator)})` : '[sent]'}.some((e) => e.length === right.length && timingSafeEqual(Buffer.from(e), right));`,
      '}',
    ],
    '',
    'createServer(async (request, response) => {',
    '  const chunks = [];',
    '  for await (const chunk of request) chunks.push(chunk);',
    '  const body = Buffer.concat(chunks);',
    !s.none && '  if (!verify(process.env.WEBHOOK_SECRET, request.headers, body)) {',
    !s.none && "    response.writeHead(401).end('the signature is not right\\n');",
    !s.none && '    return;',
    !s.none && '  }',
    p.id_header && `  // delivery is at least once: drop the ids (${p.id_header}) that you have handled`,
    '  console.log(body.toString());',
    `  response.writeHead(200, { 'Content-Type': 'application/json' }).end('{"status":"ok"}');`,
    '}).listen(process.env.PORT ?? 8080);',
  );
}

function python(p, s) {
  const value = { id: 'event_id.encode()', timestamp: 'timestamp.encode()', body: 'body' };
  const content = s.none ? '' : s.parts.map((part) => value[part] ?? `b${c(part.text)}`).join(' + ');
  const digest = s.none ? '' : s.hmac ? `hmac.new(key, ${content}, hashlib.${s.hash})` : `hashlib.${s.hash}(${content} + key)`;
  const written = s.base64 ? 'base64.b64encode(digest.digest()).decode()' : 'digest.hexdigest()';
  return lines(
    `"""Receives webhooks of the profile ${p.name}:  ${s.none ? '' : 'WEBHOOK_SECRET=... '}PORT=8080 python3 receiver.py"""`,
    !s.none && (s.base64 || s.wrapped) && 'import base64',
    !s.none && 'import hashlib',
    !s.none && 'import hmac',
    'import os',
    !s.none && s.dated && 'import time',
    'from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer',
    '', '',
    s.none ? '# This profile does not sign: anybody can send such a request.' : [
      'def verify(secret, headers, body):',
      '    """body: the raw bytes, exactly as they came"""',
      `    sent = headers.get(${c(s.header)}, "")`,
      s.idHeader && `    event_id = headers.get(${c(s.idHeader)}, "")`,
      s.timeHeader && `    timestamp = headers.get(${c(s.timeHeader)}, "")`,
      s.timePrefix !== null && `    timestamp = next((e[${s.timePrefix.length}:] for e in sent.split(${c(s.separator)}) if e.startswith(${c(s.timePrefix)})), "")`,
      s.dated && '    if not (timestamp.isascii() and timestamp.isdigit()) or abs(time.time() - int(timestamp)) > 300:',
      s.dated && '        return False  # too old',
      s.wrapped ? '    key = base64.b64decode(secret.removeprefix("whsec_"))' : '    key = secret.encode()',
      `    digest = ${digest}`,
      `    right = ${[s.prefix && c(s.prefix), written, s.suffix && c(s.suffix)].filter(Boolean).join(' + ')}`,
      s.separator && '    # one entry for each secret that is live: any may match',
      `    return any(hmac.compare_digest(e.encode(), right.encode()) for e in ${s.separator ? `sent.split(${c(s.separator)})` : '[sent]'})`,
    ],
    '', '',
    'class Receiver(BaseHTTPRequestHandler):',
    '    def do_POST(self):',
    '        body = self.rfile.read(int(self.headers.get("content-length", 0)))',
    !s.none && '        right = verify(os.environ["WEBHOOK_SECRET"], self.headers, body)',
    `        self.send_response(${s.none ? '200' : '200 if right else 401'})`,
    '        self.send_header("content-type", "application/json")',
    '        self.end_headers()',
    `        self.wfile.write(b'{"status":"ok"}'${s.none ? '' : ` if right else b'{"status":"error"}'`})`,
    p.id_header && `        # delivery is at least once: drop the ids (${p.id_header}) that you have handled`,
    !s.none && '        if right:',
    `        ${s.none ? '' : '    '}print(body.decode(), flush=True)`,
    '', '',
    'ThreadingHTTPServer(("", int(os.environ.get("PORT", 8080))), Receiver).serve_forever()',
  );
}

function go(p, s) {
  const value = { id: '[]byte(id)', timestamp: '[]byte(timestamp)', body: 'body' };
  const imports = s.none ? ['io', 'log', 'net/http', 'os']
    : [s.hmac && 'crypto/hmac', !s.hmac && 'crypto/subtle', `crypto/${s.hash}`, (s.base64 || s.wrapped) && 'encoding/base64', !s.base64 && 'encoding/hex', 'io', 'log', 'net/http', 'os',
      s.dated && 'strconv', (s.separator || s.wrapped) && 'strings', s.dated && 'time'].filter(Boolean);
  const equal = s.hmac ? 'hmac.Equal([]byte(entry), []byte(right))' : 'subtle.ConstantTimeCompare([]byte(entry), []byte(right)) == 1';
  const encoded = s.base64 ? 'base64.StdEncoding.EncodeToString(mac.Sum(nil))' : 'hex.EncodeToString(mac.Sum(nil))';
  return lines(
    `// Receives webhooks of the profile ${p.name}:  ${s.none ? '' : 'WEBHOOK_SECRET=... '}PORT=8080 go run receiver.go`,
    'package main', '', 'import (', imports.map((i) => `\t"${i}"`), ')', '',
    s.none ? '// This profile does not sign: anybody can send such a request.' : [
      '// body: the raw bytes, exactly as they came',
      'func verify(secret string, headers http.Header, body []byte) bool {',
      `\tsent := headers.Get(${c(s.header)})`,
      s.idHeader && `\tid := headers.Get(${c(s.idHeader)})`,
      s.timeHeader && `\ttimestamp := headers.Get(${c(s.timeHeader)})`,
      s.timePrefix !== null && ['\ttimestamp := ""', `\tfor _, entry := range strings.Split(sent, ${c(s.separator)}) {`, `\t\tif strings.HasPrefix(entry, ${c(s.timePrefix)}) {`,
        `\t\t\ttimestamp = entry[${s.timePrefix.length}:]`, '\t\t}', '\t}'],
      s.dated && ['\tseconds, err := strconv.ParseInt(timestamp, 10, 64)', '\tage := time.Since(time.Unix(seconds, 0))', '\tif err != nil || age > 5*time.Minute || age < -5*time.Minute {', '\t\treturn false // too old', '\t}'],
      s.wrapped ? ['\tkey, badKey := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))', '\tif badKey != nil {', '\t\treturn false', '\t}'] : '\tkey := []byte(secret)',
      s.hmac ? `\tmac := hmac.New(${s.hash}.New, key)` : `\tmac := ${s.hash}.New()`,
      s.parts.map((part) => `\tmac.Write(${value[part] ?? `[]byte(${c(part.text)})`})`),
      !s.hmac && '\tmac.Write(key)',
      `\tright := ${[s.prefix && c(s.prefix), encoded, s.suffix && c(s.suffix)].filter(Boolean).join(' + ')}`,
      s.separator && '\t// one entry for each secret that is live: any may match',
      `\tfor _, entry := range ${s.separator ? `strings.Split(sent, ${c(s.separator)})` : '[]string{sent}'} {`,
      `\t\tif ${equal} {`, '\t\t\treturn true', '\t\t}', '\t}', '\treturn false', '}',
    ],
    '',
    'func main() {',
    '\thttp.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {',
    '\t\tbody, err := io.ReadAll(r.Body)',
    `\t\tif err != nil${s.none ? '' : ' || !verify(os.Getenv("WEBHOOK_SECRET"), r.Header, body)'} {`,
    `\t\t\thttp.Error(w, "${s.none ? 'not read' : 'the signature is not right'}", ${s.none ? 400 : 401})`,
    '\t\t\treturn', '\t\t}',
    p.id_header && `\t\t// delivery is at least once: drop the ids (${p.id_header}) that you have handled`,
    '\t\tlog.Printf("%s", body)',
    '\t\tw.Header().Set("Content-Type", "application/json")',
    '\t\tio.WriteString(w, `{"status":"ok"}`)',
    '\t})',
    '\tport := os.Getenv("PORT")',
    '\tif port == "" {', '\t\tport = "8080"', '\t}',
    '\tlog.Fatal(http.ListenAndServe(":"+port, nil))',
    '}',
  );
}

export const languages = [['node', 'Node', 'receiver.mjs', node], ['python', 'Python', 'receiver.py', python], ['go', 'Go', 'receiver.go', go]];

/** The program in this language, or null where the profile signs in a way of its own. */
export function receiverCode(profile, language) {
  const scheme = schemeOf(profile);
  const made = languages.find(([key]) => key === language);
  return scheme && made ? made[3](profile, scheme) : null;
}
