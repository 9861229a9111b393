// Is a request really from your database? Standard Webhooks (profiles entity, standard,
// cloudevents and website_toolbox), with nothing but Node's own modules.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

// headers: names in lower case; body: the raw bytes, exactly as they came
export function verify(secret, headers, body, toleranceSeconds = 300) {
  const id = headers['webhook-id'];
  const timestamp = headers['webhook-timestamp'];
  const signatures = headers['webhook-signature'];
  if (!id || !/^\d+$/.test(timestamp ?? '') || !signatures) return false;
  if (Math.abs(Date.now() / 1000 - timestamp) > toleranceSeconds) return false;
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const right = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest();
  // one entry per secret that is live: any may match
  return signatures.split(' ').some((entry) => {
    const sent = Buffer.from(entry.replace(/^v1,/, ''), 'base64');
    return entry.startsWith('v1,') && sent.length === right.length && timingSafeEqual(sent, right);
  });
}

// node verify.mjs SECRET HEADERS.json BODY [TOLERANCE]: ends with 0 if it is right, else with 1
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [secret, headers, body, tolerance] = process.argv.slice(2);
  process.exit(verify(secret, JSON.parse(readFileSync(headers)), readFileSync(body), tolerance) ? 0 : 1);
}
