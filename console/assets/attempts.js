// Attempts in a table: of the log, of a subscription, of an entity.

import { path } from './api.js';
import { h } from './dom.js';
import { milliseconds, time } from './format.js';
import { link } from './router.js';
import { badge, table, words } from './widgets.js';

export const deliveryLink = (event, subscription, text) => link(path`/deliveries/${event}/${subscription}`, { class: text ? null : 'id' }, text ?? event);

export function entityLink(type, id) {
  if (!type) return h('span', { class: 'muted' }, 'not known yet');
  return id === null || id === undefined ? type : [`${type} `, link(path`/entity/${type}/${id}`, { class: 'id' }, id)];
}

/** Whether an attempt was good. */
export const worked = (a) => a.outcome === 'delivered' || a.outcome === 'skipped';

export function outcome(a) {
  return [badge(a.outcome, worked(a) ? 'good' : 'bad'), a.http_status !== null && h('span', { class: 'status' }, ` ${a.http_status}`)];
}

/** hide: columns that say the same in each row. */
export function attemptsTable(items, { caption, hide = [] }) {
  return table([
    { label: 'Time', class: 'tight', cell: (a) => time(a.started_at) },
    { label: 'Subscription', hide: hide.includes('subscription'), cell: (a) => (a.subscription ? link(path`/subscriptions/${a.subscription}`, null, a.subscription) : h('span', { class: 'muted' }, 'removed')) },
    { label: 'Event', class: 'tight', cell: (a) => (a.subscription ? deliveryLink(a.event_id, a.subscription) : h('span', { class: 'id' }, a.event_id)) },
    { label: 'Entity', hide: hide.includes('entity'), cell: (a) => entityLink(a.entity_type, a.entity_id) },
    { label: 'Action', cell: (a) => words(a.action_type) },
    { label: 'Try', class: 'number', cell: (a) => a.attempt_number },
    { label: 'Outcome', class: 'tight', cell: (a) => outcome(a) },
    { label: 'Took', class: 'number', cell: (a) => milliseconds(a.duration_ms) },
    { label: 'Error', class: 'grow', cell: (a) => (a.error ? h('span', { class: 'clip', title: a.error }, a.error) : h('span', { class: 'muted' }, '–')) },
  ], items, { caption, key: (a) => `${a.event_id} ${a.subscription} ${a.attempt_number}` });
}
