// The log: every request, found by what the filter says. The filter is in the address.
import { get, part, query as made } from './api.js';
import { badge, h, section, table, time, button } from './dom.js';

export const outcome = (a) => [badge(a.outcome, a.outcome === 'delivered' || a.outcome === 'skipped' ? 'good' : 'bad'), a.http_status ? ` ${a.http_status}` : ''];

export const requests = (items, empty) => table('Requests', ['When', 'Webhook', 'Event', 'Outcome', 'Took', 'Answer'], items.map((a) => [
  h('a', { href: `/deliveries/${part(a.event_id)}/${part(a.subscription ?? '')}` }, time(a.started_at)),
  a.subscription && h('a', { href: `/subscriptions/${part(a.subscription)}` }, a.subscription),
  [h('a', { href: `/entity/${part(a.entity_type)}/${part(a.entity_id ?? '')}` }, `${a.entity_type} ${a.entity_id ?? ''}`), ` ${a.action_type}`, h('div', { class: 'sub' }, a.event_id, a.attempt_number > 1 && `, attempt ${a.attempt_number}`)],
  outcome(a), a.duration_ms === null ? '' : `${Math.round(a.duration_ms)} ms`,
  h('span', { class: 'cut' }, a.error ?? a.response)]), empty);

const FILTERS = [['subscription', 'Webhook'], ['entity_type', 'Entity type'], ['entity_id', 'Entity id'], ['event', 'Event id'],
  ['outcome', 'Outcome (failed: all failures)'], ['status', 'Status (404, 5xx)'], ['since', 'Since'], ['until', 'Until']];

export async function logPage({ query, every, go }) {
  const filter = Object.fromEntries(FILTERS.map(([name]) => [name, query.get(name)]).filter(([, value]) => value));
  const cursor = query.get('cursor');
  const path = (more) => `/api/log${made({ ...filter, limit: 50, ...more })}`;
  const first = await get(path({ cursor }));
  const empty = 'No request is like this. Requests are kept for webhook.retention, and by then are gone.';
  const place = h('div', null, requests(first.items, empty));
  const form = h('form', { class: 'filters', onsubmit: (event) => {
    event.preventDefault();
    go(`/log${made(Object.fromEntries(FILTERS.map(([name]) => [name, form.elements[name].value.trim()])))}`);
  } }, FILTERS.map(([name, text]) => h('label', null, text, h('input', { name, value: filter[name] ?? '', placeholder: name === 'since' || name === 'until' ? '2026-01-31 12:00' : null }))), h('button', null, 'Search'));
  if (!cursor)
    every(3, async () => {
      const { items } = await get(path());
      if (!place.contains(document.activeElement)) place.replaceChildren(requests(items, empty));
    });
  return [h('h1', null, 'Log'), form, h('p', { class: 'sub' }, cursor ? [h('a', { href: `/log${made(filter)}` }, 'To the newest')] : 'The newest first; it follows what happens while it is seen.'), place,
    first.next && h('p', null, h('a', { class: 'button', href: `/log${made({ ...filter, cursor: first.next })}` }, 'Older'))];
}

export async function entityPage({ names: [type, id] }) {
  const { items, next } = await get(`/api/log${made({ entity_type: type, entity_id: id, limit: 100 })}`);
  return [h('h1', null, `${type} ${id}`), h('p', null, 'Every request about it, newest first. ', h('a', { href: `/log${made({ entity_type: type, entity_id: id })}` }, 'In the log')),
    requests(items, 'Nothing about it was sent, or it is no longer kept.'), next && h('p', null, h('a', { class: 'button', href: `/log${made({ entity_type: type, entity_id: id, cursor: next })}` }, 'Older'))];
}

// The last ones of a webhook, with a way to all of them.
export function lastRequests(name) {
  const place = h('div', null, 'Loading');
  const load = async () => place.replaceChildren(requests((await get(`/api/log${made({ subscription: name, limit: 10 })}`)).items, 'Nothing was sent yet. Send a test, or change a row of a watched table.'));
  return { load, node: section('Last 10 requests', place, h('p', null, h('a', { href: `/log${made({ subscription: name })}` }, 'All'), ' ', h('a', { href: `/log${made({ subscription: name, outcome: 'failed' })}` }, 'Failures'), ' ', button('Again', load))) };
}
