// The demo's eyes: shows the requests that arrived, and judges them.
//
//   check.mjs show requests.jsonl FROM TO           print requests number FROM to TO
//   check.mjs judge requests.jsonl expected.jsonl outbox.jsonl SECRET
//
// `judge` compares what arrived with two accounts that do not know each other:
// expected.jsonl, the demo's own list of the changes it committed, and
// outbox.jsonl, what the extension wrote into webhook.outbox. It prints one
// line per point and exits 0 only if all hold.

import { isDeepStrictEqual } from 'node:util';
import { readRequests, verifyRequest } from '../test/receiver/verify.mjs';

const colour = process.stdout.isTTY;
const dim = (s) => (colour ? `\x1b[2m${s}\x1b[0m` : s);
const cyan = (s) => (colour ? `\x1b[36m${s}\x1b[0m` : s);
const green = (s) => (colour ? `\x1b[32m${s}\x1b[0m` : s);
const red = (s) => (colour ? `\x1b[31m${s}\x1b[0m` : s);

const indent = (text) => text.replace(/^/gm, '    ');

function show(requests) {
  for (const r of requests) {
    console.log(indent(cyan(`<- ${r.n}. ${r.method} ${r.path}  HTTP/${r.httpVersion}, ${r.tls.protocol}, connection ${r.conn}`)));
    for (const [name, value] of Object.entries(r.headers)) {
      if (!name.startsWith(':')) console.log(indent(dim(`   ${name}: ${value}`)));
    }
    console.log(indent(indent(JSON.stringify(JSON.parse(r.body), null, 2)).replace(/^ /gm, '')));
    console.log();
  }
}

function judge(file, expectedFile, outboxFile, secret) {
  const requests = readRequests(file);
  const expected = readRequests(expectedFile);
  const outbox = readRequests(outboxFile);
  let wrong = 0;

  const point = (what, problems) => {
    console.log(`  ${problems.length === 0 ? green('ok    ') : red('not ok')} ${what}`);
    for (const p of problems.slice(0, 10)) console.log(red(`         ${p}`));
    if (problems.length > 0) wrong++;
  };

  const bodies = requests.map((r) => {
    try {
      return JSON.parse(r.body);
    } catch {
      return {};
    }
  });
  const entityOf = (e) => `${e.entity_type}/${e.entity_id}`;
  const say = (e) => `${e.action_type} ${entityOf(e)}`;
  // entity -> its changes in the order they came
  const byEntity = (list) => {
    const map = new Map();
    for (const e of list) map.set(entityOf(e), [...(map.get(entityOf(e)) ?? []), e]);
    return map;
  };
  const compare = (wanted, same, whose) => {
    const problems = [];
    const want = byEntity(wanted);
    const got = byEntity(bodies);
    for (const entity of new Set([...want.keys(), ...got.keys()])) {
      const w = want.get(entity) ?? [];
      const g = got.get(entity) ?? [];
      if (w.length !== g.length) {
        problems.push(`${entity}: ${whose} has ${w.map((e) => e.action_type)}, arrived ${g.map((e) => e.action_type)}`);
        continue;
      }
      w.forEach((e, i) => {
        const problem = same(e, g[i]);
        if (problem) problems.push(`${say(e)}: ${problem}`);
      });
    }
    return problems;
  };
  // the demo's list names only some columns of a row; numbers and texts as JSON
  const hasColumns = (wanted, got) => {
    if (wanted.action_type !== got.action_type) return `arrived as ${got.action_type}`;
    if ((wanted.result === undefined) !== (got.result === undefined)) return `result is ${JSON.stringify(got.result)}`;
    for (const [column, value] of Object.entries(wanted.result ?? {})) {
      if (!isDeepStrictEqual(got.result[column], value)) {
        return `${column} is ${JSON.stringify(got.result[column])}, not ${JSON.stringify(value)}`;
      }
    }
    return null;
  };

  point(`${expected.length} changes were committed, ${requests.length} requests arrived`,
    expected.length === requests.length ? [] : ['the numbers differ']);
  point('they are the changes this demo committed, in order for each entity', compare(expected, hasColumns, 'the list'));
  point(`they are the ${outbox.length} events of webhook.outbox, result byte for byte`,
    compare(outbox, (e, got) => {
      if (e.action_type !== got.action_type) return `arrived as ${got.action_type}`;
      if (e.result === null) return 'result' in got ? 'has a result, and should have none' : null;
      const request = requests.find((r) => r.headers['webhook-id'] === e.event_id);
      if (!request) return `no request with webhook-id ${e.event_id}`;
      return request.body.includes(e.result) ? null : `result differs: ${e.result}`;
    }, 'the outbox'));
  const ids = requests.map((r) => r.headers['webhook-id']);
  point('each arrived once', ids.filter((id, i) => ids.indexOf(id) !== i).map((id) => `${id} came more than once`));
  point('every signature is accepted by the standardwebhooks library, and refused after one changed bit',
    requests.map((r) => [r.n, verifyRequest(r, [secret])]).filter(([, why]) => why).map(([n, why]) => `request ${n}: ${why}`));
  point('every request came by verified TLS as a POST of JSON',
    requests.filter((r) => !r.tls || r.method !== 'POST' || !/^application\/json/.test(r.headers['content-type']))
      .map((r) => `request ${r.n}: ${r.method} ${r.headers['content-type']}`));
  point('nothing of the rolled-back transaction, and no excluded column, was sent',
    requests.filter((r) => /mallory|Rolled Back|password_hash|scrypt/i.test(r.body)).map((r) => `request ${r.n}: ${r.body}`));
  return wrong === 0;
}

// Logs in to the console as people do, and shows what it says.
async function tryConsole(url, user, password) {
  const headers = { 'Content-Type': 'application/json', Origin: url };
  const login = await fetch(`${url}/api/session`, { method: 'POST', headers, body: JSON.stringify({ user, password, database: 'shop' }) });
  if (!login.ok) throw new Error(`the login was refused: ${await login.text()}`);
  const cookie = login.headers.get('set-cookie').split(';')[0];
  const { items } = await (await fetch(`${url}/api/subscriptions`, { headers: { Cookie: cookie } })).json();
  for (const s of items) {
    console.log(`    ${s.name.padEnd(14)} ${s.state.padEnd(8)} delivered ${s.delivered}, pending ${s.pending}, dead letters ${s.dead_letters}`);
  }
  if (items.length === 0) throw new Error('it has no subscriptions');
}

const [what, ...args] = process.argv.slice(2);
if (what === 'show') show(readRequests(args[0]).slice(Number(args[1]) - 1, Number(args[2])));
else if (what === 'console') await tryConsole(...args);
else if (what === 'judge') process.exit(judge(...args) ? 0 : 1);
else {
  console.error('usage: check.mjs show FILE FROM TO | console URL USER PASSWORD | judge FILE EXPECTED OUTBOX SECRET');
  process.exit(2);
}
