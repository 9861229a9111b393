// Check signatures of recorded requests with the receivers' own library.
//
//   node verify.mjs requests.jsonl whsec_... [whsec_...]
//
// Each request must be accepted by the standardwebhooks npm library with one
// of the secrets, and must be refused once a bit of its body, its id or its
// timestamp is changed. Prints {"requests", "verified", "failed", "failures"}
// and exits 0 only if there were requests and all of them passed.
// Also a module: verifyRequest(request, secrets) returns null or what is wrong.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Webhook } from 'standardwebhooks';

const accepts = (webhook, body, headers) => {
  try {
    webhook.verify(body, headers);
    return null;
  } catch (error) {
    return error.message;
  }
};

// One changed bit, at a place where text stays text.
const flip = (text, at) => text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ 1) + text.slice(at + 1);

export function verifyRequest(request, secrets) {
  // The library refuses signatures older than five minutes. What counts is how
  // old they were on arrival, so let it believe that this is now.
  const realNow = Date.now;
  Date.now = () => request.at;
  try {
    let why = 'no secret';
    for (const secret of secrets) {
      const webhook = new Webhook(secret);
      const { body, headers } = request;
      why = accepts(webhook, body, headers);
      if (why !== null) continue;
      const forgeries = {
        body: [flip(body, body.length >> 1), headers],
        'webhook-id': [body, { ...headers, 'webhook-id': flip(headers['webhook-id'], 0) }],
        'webhook-timestamp': [body, { ...headers, 'webhook-timestamp': flip(headers['webhook-timestamp'], 9) }],
      };
      for (const [what, [b, h]] of Object.entries(forgeries)) {
        if (accepts(webhook, b, h) === null) return `still accepted with a changed ${what}`;
      }
      return null;
    }
    return why;
  } finally {
    Date.now = realNow;
  }
}

export const readRequests = (file) =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [file, ...secrets] = process.argv.slice(2);
  if (!file || secrets.length === 0) {
    console.error('usage: verify.mjs requests.jsonl whsec_... [whsec_...]');
    process.exit(2);
  }
  const requests = readRequests(file);
  const failures = requests
    .map((request) => ({ n: request.n, path: request.path, why: verifyRequest(request, secrets) }))
    .filter((result) => result.why !== null);
  const verified = requests.length - failures.length;
  console.log(JSON.stringify({ requests: requests.length, verified, failed: failures.length, failures: failures.slice(0, 20) }));
  process.exit(requests.length > 0 && failures.length === 0 ? 0 : 1);
}
