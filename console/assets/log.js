// The log: what was sent and what came back. The filter is the address, so that it can be sent to
// somebody; pages go by cursor; new attempts come in while the page is looked at.

import { get, withQuery } from './api.js';
import { attemptsTable } from './attempts.js';
import { fill, h } from './dom.js';
import { field, select, text } from './form.js';
import { fromLocalInput, toLocalInput } from './format.js';
import { go, link } from './router.js';
import { empty, heading } from './widgets.js';

const KEYS = ['subscription', 'entity_type', 'entity_id', 'event', 'outcome', 'status', 'since', 'until'];
const EVERY = 3000;
const MOST = 500; // rows that a page that stays open collects
const OUTCOMES = ['', 'failed', 'delivered', 'skipped', 'rejected', 'redirect', 'bad_request', 'unauthorized', 'forbidden', 'not_found', 'request_timeout', 'conflict',
  'gone', 'payload_too_large', 'unprocessable', 'too_many_requests', 'client_error', 'bad_gateway', 'unavailable', 'gateway_timeout', 'server_error', 'http_error',
  'refused', 'reset', 'dns', 'connect_timeout', 'timeout', 'tls_unknown_ca', 'tls_wrong_host', 'tls_expired', 'tls', 'proxy', 'oauth', 'address_refused',
  'response_too_large', 'body_too_large', 'transform_failed', 'transform_timeout', 'internal', 'interrupted'];

function filterForm(query) {
  const inputs = {
    subscription: text({ name: 'subscription', value: query.subscription ?? '' }),
    entity_type: text({ name: 'entity_type', value: query.entity_type ?? '' }),
    entity_id: text({ name: 'entity_id', value: query.entity_id ?? '' }),
    event: text({ name: 'event', value: query.event ?? '', placeholder: 'evt_…' }),
    outcome: select({ name: 'outcome', value: query.outcome ?? '' }, OUTCOMES.map((o) => [o, o === '' ? 'any' : o === 'failed' ? 'failed (all)' : o.replaceAll('_', ' ')])),
    status: text({ name: 'status', value: query.status ?? '', placeholder: '404 or 5xx', size: '8' }),
    since: h('input', { type: 'datetime-local', name: 'since', step: '1', value: toLocalInput(query.since) }),
    until: h('input', { type: 'datetime-local', name: 'until', step: '1', value: toLocalInput(query.until) }),
  };
  const labels = { subscription: 'Subscription', entity_type: 'Entity type', entity_id: 'Entity id', event: 'Event id', outcome: 'Outcome', status: 'Status', since: 'From', until: 'Until' };
  const form = h('form', { class: 'filter', 'aria-label': 'Filter' }, KEYS.map((k) => field(labels[k], inputs[k])),
    h('div', { class: 'actions' }, h('button', { type: 'submit', class: 'primary' }, 'Filter'), link('/log', { class: 'button' }, 'Clear')));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const values = Object.fromEntries(KEYS.map((k) => [k, inputs[k].value.trim()]));
    values.since = fromLocalInput(values.since);
    values.until = fromLocalInput(values.until);
    go(withQuery('/log', values));
  });
  return form;
}

const same = (a, b) => a.event_id === b.event_id && a.attempt_number === b.attempt_number && a.subscription === b.subscription;

export const logPage = {
  title: 'Log',
  async show(context) {
    const filter = Object.fromEntries(KEYS.map((k) => [k, context.query[k]]));
    const { cursor } = context.query;
    const address = withQuery('/api/log', { ...filter, cursor });
    const [first] = await context.load(get(address, context.signal));
    let items = first.items;
    const filtered = KEYS.some((k) => filter[k]);
    const place = h('div', null);
    const live = !cursor && !filter.until;
    const alive = h('span', { class: 'muted live' }, live ? [h('span', { class: 'dot good' }), ' live'] : 'an older page: not live');

    function draw() {
      const held = place.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
      if (items.length > 0) fill(place, attemptsTable(items, { caption: 'Attempts, newest first', hide: filter.subscription ? ['subscription'] : [] }));
      else if (filtered) fill(place, empty('No attempt fits this filter.', 'The log is kept for webhook.retention. ', link('/log', null, 'Show all'), ', or ask ', link('/why', null, 'why an event did not arrive'), '.'));
      else fill(place, empty('Nothing has been sent yet.', 'Change a row of a watched table, or press Test on the page of a ', link('/', null, 'subscription'), '.'));
      if (held) place.querySelector(`a[href="${CSS.escape(held)}"]`)?.focus({ preventScroll: true });
    }

    if (live) {
      context.every(EVERY, async () => {
        const { items: now } = await get(address, context.signal);
        const fresh = now.filter((a) => !items.some((b) => same(a, b)));
        if (fresh.length === 0) return;
        // more than a page came meanwhile: there would be a gap
        items = fresh.length === now.length ? now : [...fresh, ...items].slice(0, MOST);
        draw();
        context.say(`${fresh.length} new`);
      });
    }
    draw();
    const older = first.next && link(withQuery('/log', { ...filter, cursor: first.next }), { class: 'button', rel: 'next' }, 'Older');
    const newest = cursor && link(withQuery('/log', filter), { class: 'button' }, 'Newest');
    return h('div', null, heading('Log', alive),
      h('details', { class: 'filter-box', open: filtered || window.innerWidth > 900 }, h('summary', null, 'Filter'), filterForm(context.query)),
      place, h('div', { class: 'pager' }, newest, older));
  },
};
