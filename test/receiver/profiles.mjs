// Check recorded requests as their receivers would: with the receiver's own
// library where there is one, else by the few lines that its documents ask for.
//
//   node profiles.mjs PROFILE requests.jsonl SECRET [SECRET]...
//
// PROFILE is a name of webhook.profile, or svix (the same requests as standard,
// read by that library), or standard_v1a (signed with ed25519). Each request must be accepted with one of the
// secrets, and must be refused with one byte of its body changed, with any
// header changed that the scheme signs or that carries the signature, with a
// header of these missing, and, where the scheme has a timestamp, when it is
// ten minutes old. Prints {"requests", "verified", "failed", "failures"} and
// exits 0 only if there were requests and all of them passed.
// Also a module: checkRequest(profile, request, secrets) returns null or what is wrong.

import { createHash, createHmac, createPublicKey, timingSafeEqual, verify } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { verify as verifyGitHub } from '@octokit/webhooks-methods';
import { HTTP } from 'cloudevents';
import { Webhook } from 'standardwebhooks';
import Stripe from 'stripe';
import { Webhook as SvixWebhook } from 'svix';
import { readRequests } from './verify.mjs';

const must = (condition, why) => {
  if (!condition) throw new Error(why);
};

const same = (sent, right) => {
  const [a, b] = [Buffer.from(String(sent)), Buffer.from(right)];
  must(a.length === b.length && timingSafeEqual(a, b), 'the signature is not right');
};

const standard = (secret, body, headers) => new Webhook(secret).verify(body, headers);
const standardHeaders = ['webhook-id', 'webhook-timestamp', 'webhook-signature'];

// What an SDK makes of it must be a valid CloudEvent too, or, where it says that it is a batch, several.
const cloudevents = (secret, body, headers) => {
  standard(secret, body, headers);
  const made = HTTP.toEvent({ headers, body });
  const batch = headers['content-type'].startsWith('application/cloudevents-batch+json');
  must(Array.isArray(made) === batch, batch ? 'not a batch' : 'not one CloudEvent');
  const events = batch ? made : [made];
  must(events.length > 0 && events.every((event) => event.validate() && event.specversion === '1.0'), 'not a CloudEvent');
};

// Standard Webhooks' v1a, which its library does not know: by Node's own ed25519. The secret is whsk_ or whpk_.
const v1a = (secret, body, headers) => {
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures } = headers;
  must(Math.abs(Date.now() / 1000 - timestamp) <= 300, 'too old');
  const x = Buffer.from(secret.slice(5), 'base64').subarray(-32).toString('base64url');
  const key = createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x } });
  const right = ([version, text]) =>
    version === 'v1a' && verify(null, Buffer.from(`${id}.${timestamp}.${body}`), key, Buffer.from(text, 'base64'));
  must(signatures.split(' ').some((entry) => right(entry.split(','))), 'the signature is not right');
};

// profile: { verify, which throws unless all is right; signed, the headers that count; dated }
const profiles = {
  standard: { verify: standard, signed: standardHeaders, dated: true },
  svix: { verify: (secret, body, headers) => new SvixWebhook(secret).verify(body, headers), signed: standardHeaders, dated: true },
  cloudevents: { verify: cloudevents, signed: standardHeaders, dated: true },
  standard_v1a: { verify: v1a, signed: standardHeaders, dated: true },
  github: {
    verify: async (secret, body, headers) =>
      must(await verifyGitHub(secret, body, headers['x-hub-signature-256']), 'the signature is not right'),
    signed: ['x-hub-signature-256'],
  },
  stripe: {
    verify: (secret, body, headers) => Stripe.webhooks.constructEvent(body, headers['stripe-signature'], secret),
    signed: ['stripe-signature'],
    dated: true,
  },
  xsolla: {
    verify: (secret, body, headers) =>
      same(headers.authorization, `Signature ${createHash('sha1').update(body + secret).digest('hex')}`),
    signed: ['authorization'],
  },
  aghanim: {
    verify: (secret, body, headers) => {
      const timestamp = headers['x-aghanim-signature-timestamp'];
      same(headers['x-aghanim-signature'], createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex'));
      must(Math.abs(Date.now() / 1000 - timestamp) <= 300, 'too old');
    },
    signed: ['x-aghanim-signature', 'x-aghanim-signature-timestamp'],
    dated: true,
  },
};
profiles.entity = profiles.website_toolbox = profiles.standard;
profiles.cloudevents_binary = profiles.cloudevents;

// One changed bit, at a place where text stays text.
const flip = (text, at) => text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ 1) + text.slice(at + 1);

// A header's value as it must not pass: every signature in it changed, or else its last
// character, by which a timestamp stays one that is young enough.
const signature = /[0-9a-f]{40,}|[A-Za-z0-9+/]{86}==|[A-Za-z0-9+/]{43}=/g;
const forge = (value) =>
  value.match(signature) ? value.replace(signature, (s) => flip(s, 5)) : flip(value, value.length - 1);

// Why a request is refused at that time (Unix milliseconds); null: it is accepted.
async function refusal(profile, secret, body, headers, at) {
  // What counts is how old a request was on arrival, so let libraries believe that this is now.
  const realNow = Date.now;
  Date.now = () => at;
  try {
    await profile.verify(secret, body, { ...headers });
    return null;
  } catch (error) {
    return error.message || 'refused';
  } finally {
    Date.now = realNow;
  }
}

export async function checkRequest(name, request, secrets) {
  const profile = profiles[name];
  const { body, headers, at } = request;
  let why = 'no secret';
  let secret;
  for (secret of secrets) {
    why = await refusal(profile, secret, body, headers, at);
    if (why === null) break;
  }
  if (why !== null) return why;

  const forgeries = [
    ['a changed body', flip(body, body.length >> 1), headers],
    ['a longer body', `${body} `, headers],
  ];
  for (const header of profile.signed) {
    const value = headers[header];
    forgeries.push([`a changed ${header}`, body, { ...headers, [header]: forge(value) }]);
    const { [header]: _, ...without } = headers;
    forgeries.push([`no ${header}`, body, without]);
    if (value.startsWith('t=')) {
      const older = value.replace(/^t=(\d+)/, (_, t) => `t=${t - 1}`);
      forgeries.push([`another time in ${header}`, body, { ...headers, [header]: older }]);
    }
  }
  for (const [what, forgedBody, forgedHeaders] of forgeries) {
    if ((await refusal(profile, secret, forgedBody, forgedHeaders, at)) === null) return `still accepted with ${what}`;
  }
  if ((await refusal(profile, flip(secret, secret.length - 5), body, headers, at)) === null) return 'still accepted with another secret';
  if (profile.dated && (await refusal(profile, secret, body, headers, at + 600_000)) === null) return 'still accepted ten minutes later';
  return null;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [name, file, ...secrets] = process.argv.slice(2);
  if (!profiles[name] || !file || secrets.length === 0) {
    console.error(`usage: profiles.mjs ${Object.keys(profiles).join('|')} requests.jsonl SECRET [SECRET]...`);
    process.exit(2);
  }
  const requests = readRequests(file);
  const failures = [];
  for (const request of requests) {
    const why = await checkRequest(name, request, secrets);
    if (why !== null) failures.push({ n: request.n, path: request.path, why });
  }
  const verified = requests.length - failures.length;
  console.log(JSON.stringify({ requests: requests.length, verified, failed: failures.length, failures: failures.slice(0, 20) }));
  process.exit(requests.length > 0 && failures.length === 0 ? 0 : 1);
}
