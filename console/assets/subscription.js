// One webhook: how it stands, what it sent, what waits, what was given up; and what can be done.
import { ask, get, part, query as made } from './api.js';
import { action, badge, button, confirm, facts, field, h, number, problem, say, section, shownOnce, showProblem, span, svg, table, time } from './dom.js';
import { lastRequests, outcome } from './log.js';
import { receiverCode } from './receiver.js';

const STATES = {
  active: 'It gets the events that match.',
  catching_up: 'It is being sent what was kept while it could not take it.',
  paused: 'Its events are kept until it is resumed.',
  disabled: 'The endpoint said 410 Gone. Its events are kept until it is resumed.',
  inactive: 'Events are not for it, and not kept, until it is resumed.',
};

// Delivered and failed requests of each minute.
function picture(rates) {
  const from = Date.parse(rates.since);
  const minutes = Math.max(1, Math.round((Date.parse(rates.until) - from) / 60000));
  const most = Math.max(1, ...rates.items.map((m) => m.delivered + m.failed));
  const bars = rates.items.flatMap((m) => {
    const x = (Math.floor((Date.parse(m.minute) - from) / 60000) / minutes) * 300;
    const w = Math.max(1, 300 / minutes - 0.5);
    const good = (m.delivered / most) * 50;
    const bad = (m.failed / most) * 50;
    return [svg('rect', { class: 'good', x, y: 52 - good, width: w, height: good }), svg('rect', { class: 'bad', x, y: 52 - good - bad, width: w, height: bad })];
  });
  const text = `Requests of the last ${minutes} minutes: at most ${most} in one`;
  return [svg('svg', { viewBox: '0 0 300 54', class: 'rates', role: 'img', 'aria-label': text }, svg('line', { x1: 0, y1: 52.5, x2: 300, y2: 52.5 }), bars),
    h('p', { class: 'sub' }, rates.requests ? `${text}. Half of them took ${Math.round(rates.p50_ms)} ms, 95 of 100 at most ${Math.round(rates.p95_ms)} ms, 99 at most ${Math.round(rates.p99_ms)} ms.` : 'No request in the last hour.')];
}

function test(name, path) {
  const place = h('div');
  const form = h('form', { class: 'filters', onsubmit: (event) => event.preventDefault() },
    h('label', null, 'Entity type', h('input', { name: 'entity_type', placeholder: 'made up' })), h('label', null, 'Entity id', h('input', { name: 'entity_id', placeholder: 'the newest row' })),
    action('Send a test', async () => {
      const given = Object.fromEntries(['entity_type', 'entity_id'].map((f) => [f, form.elements[f].value.trim()]).filter(([, value]) => value));
      place.replaceChildren('Waiting for the endpoint');
      try {
        const answer = await ask('POST', `${path}/test`, given);
        place.replaceChildren(h('p', { role: 'status' }, answer.error ? [badge('failed', 'bad'), ` ${answer.error}`] : [badge('delivered', 'good'), ' The endpoint took it.'],
          answer.attempt && [' ', outcome(answer.attempt), ` in ${Math.round(answer.attempt.duration_ms)} ms`]), answer.attempt?.response && h('pre', null, answer.attempt.response));
      } catch (error) {
        place.replaceChildren();
        throw error;
      }
    }, { class: 'main' }));
  return section('Test', h('p', null, 'Sends one event with the action ', h('code', null, 'test'), ', with the data of a row that you may read, and waits for the answer.'), form, place);
}

function deadLetters(name, path, again) {
  const place = h('div', null, 'Loading');
  const load = async (cursor) => {
    const asked = new Date().toISOString();
    const dead = await get(`${path}/dead_letters${made({ cursor })}`);
    const all = async (what, title, text, yes) => {
      if (!(await confirm(title, text, yes))) return;
      const done = await ask('POST', `${path}/dead_letters/${what}`, { until: asked, expected: dead.count });
      say(done.queued === undefined ? `${number(done.purged)} were removed.` : `${number(done.queued)} are sent again.`);
      await again();
    };
    place.replaceChildren(...[
      dead.count > 0 && h('p', { class: 'buttons' },
        action(`Send all ${number(dead.count)} again`, () => all('redeliver', `Send ${number(dead.count)} again?`, `All that ${name} has given up until now is queued again.`, 'Send again')),
        action(`Remove all ${number(dead.count)}`, () => all('purge', `Remove ${number(dead.count)}?`, 'They are gone for good, with what was to be sent.', 'Remove'), { class: 'danger' })),
      table('Dead letters', ['Event', 'About', 'Why', 'Attempts', 'Given up'], dead.items.map((d) => [h('a', { class: 'id', href: `/deliveries/${part(d.event_id)}/${part(name)}` }, d.event_id), `${d.entity_type} ${d.entity_id ?? ''} ${d.action_type}`, d.reason, d.attempts, time(d.given_up_at)]), 'Nothing was given up.'),
      dead.next && button('More', () => load(dead.next))].filter(Boolean));
  };
  return { load, node: section('Dead letters', place) };
}

function waiting(name, path) {
  const place = h('div', null, 'Loading');
  const load = async () => {
    const { items, next } = await get(`${path}/pending`);
    place.replaceChildren(...[table('Waiting', ['Event', 'About', 'State', 'Attempts', 'Next', 'Last error'], items.map((p) => [h('a', { class: 'id', href: `/deliveries/${part(p.event_id)}/${part(name)}` }, p.event_id),
      p.entity_type && `${p.entity_type} ${p.entity_id ?? ''} ${p.action_type}`, badge(p.state, 'waits'), p.attempts, time(p.next_attempt_at), h('span', { class: 'cut' }, p.last_error)]), 'Nothing waits.'), next && h('p', { class: 'sub' }, 'These are the first ones.')].filter(Boolean));
  };
  return { load, node: section('Waiting', place) };
}

function replay(name, path, again) {
  const form = h('form', { class: 'filters', onsubmit: (event) => event.preventDefault() },
    ['since', 'until'].map((f) => h('label', null, f === 'since' ? 'Since' : 'Until', h('input', { name: f, type: 'datetime-local', step: 1 }))),
    action('Count and replay', async () => {
      const range = Object.fromEntries(['since', 'until'].map((f) => [f, form.elements[f].value && new Date(form.elements[f].value).toISOString()]));
      if (!range.until) range.until = new Date().toISOString();
      const found = await get(`${path}/replay${made(range)}`);
      if (!(await confirm(`Send ${number(found.matching)} again?`, `So many events of this time match ${name} as it is now; ${number(found.pending)} of them wait already.`, 'Replay'))) return;
      const done = await ask('POST', `${path}/replay`, { since: found.since, until: found.until });
      say(`${number(done.queued)} are queued.`);
      await again();
    }));
  return section('Replay', h('p', null, 'Sends the events of a time once more, as far as they are kept.'), form);
}

function secrets(name, path) {
  const once = h('div');
  const value = h('input', { name: 'value', type: 'password', autocomplete: 'off', required: true });
  const form = h('form', { class: 'filters', onsubmit: async (event) => {
    event.preventDefault();
    showProblem(form);
    try {
      await ask('PUT', `${path}/credentials/${part(form.elements.kind.value)}`, { value: value.value });
      value.value = '';
      say('It is kept.');
    } catch (error) {
      showProblem(form, error);
    }
  } }, h('label', null, 'Credential', h('select', { name: 'kind' }, ['bearer', 'basic', 'headers', 'client_certificate', 'ca', 'proxy', 'oauth2'].map((kind) => h('option', null, kind)))), h('label', null, 'Value', value), h('button', null, 'Set'),
  action('Remove', async () => {
    await ask('DELETE', `${path}/credentials/${part(form.elements.kind.value)}`);
    say('It is removed.');
  }));
  const overlap = h('select', { name: 'overlap' }, [['24 hours', 'for a day'], ['7 days', 'for a week'], ['0', 'not at all']].map(([v, text]) => h('option', { value: v }, text)));
  return section('Secrets', h('p', null, 'The secret signs requests. A new one is used at once; the old one signs as well for as long as you say, so that receivers can change.'),
    h('p', { class: 'filters' }, h('label', null, 'The old one stays ', overlap), action('New secret', async () => {
      if (!(await confirm(`A new secret for ${name}?`, 'Receivers need it when the old one ends.', 'Make it'))) return;
      const { secret } = await ask('POST', `${path}/secret`, { overlap: overlap.value });
      once.replaceChildren(shownOnce('The new secret.', secret));
    })), once, h('p', null, 'Credentials are sent to the endpoint, or used to reach it. They can be set and removed, and are never shown.'), form);
}

export async function subscriptionPage({ names: [name], may, go, every }) {
  const path = `/api/subscriptions/${part(name)}`;
  const s = may('operator') ? await get(path) : { status: (await get('/api/subscriptions')).items.find((one) => one.name === name) };
  if (!s.status) return [h('h1', null, name), h('p', { class: 'empty' }, 'There is no such webhook.')];
  const again = () => go(location.pathname, true);
  const become = (what, text) => action(text, async () => {
    await ask('POST', `${path}/${what}`);
    await again();
  });
  const remove = async () => {
    if (!(await confirm(`Remove ${name}?`, `Its ${number(s.status.pending)} waiting deliveries go with it. Its log and its dead letters stay.`, 'Remove'))) return;
    await ask('DELETE', path);
    say(`${name} is removed.`);
    await go('/');
  };
  const { status } = s;
  const requests = lastRequests(name);
  const rates = h('div');
  const dead = may('operator') && deadLetters(name, path, again);
  const waits = may('operator') && waiting(name, path);
  const load = async (part_) => part_.load().catch((error) => part_.node.append(problem(error)));
  queueMicrotask(() => {
    load(requests);
    get(`${path}/rates`).then((r) => rates.replaceChildren(...picture(r))).catch(() => {});
    if (dead) [dead, waits].forEach(load);
  });
  every(5, requests.load);
  const running = status.state === 'active' || status.state === 'catching_up';
  return [h('div', { class: 'head' }, h('h1', null, name), may('operator') && h('span', { class: 'buttons' }, h('a', { class: 'button', href: `/subscriptions/${part(name)}/edit` }, 'Edit'),
    running ? [become('pause', 'Pause'), become('deactivate', 'Deactivate')] : become('resume', 'Resume'), action('Remove', remove, { class: 'danger' }))),
  h('p', { class: 'answer' }, badge(status.state), ' ', status.breaker !== 'closed' && badge(`breaker ${status.breaker}`, 'bad'), ' ', STATES[status.state], ' ', status.reason ?? s.state_reason),
  status.breaker !== 'closed' && h('p', null, 'The endpoint failed again and again, so only probes are sent until one is answered. Nothing is lost.'),
  facts([['URL', s.url && h('code', null, s.url)], ['Events', s.url && (s.events ? s.events.join(', ') : 'all')], ['Profile', s.profile], ['Filter', s.filter && h('code', null, s.filter)], ['Tenant', s.tenant],
    ['Delivered', number(status.delivered)], ['Failed', number(status.failed)], ['Waiting', number(status.pending + status.queued + status.in_flight)], ['Oldest', span(status.oldest_pending_seconds)], ['Dead', number(status.dead_letters)],
    ['Last success', time(status.last_success_at)], ['Last failure', status.last_failure_at && [time(status.last_failure_at), ' ', status.last_error]], ['Next attempt', time(status.next_attempt_at)]]),
  rates, requests.node, may('operator') && [test(name, path), waits.node, dead.node, replay(name, path, again), secrets(name, path), receiverCode(s.profile)]].flat();
}
