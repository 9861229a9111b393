// One delivery: every attempt in its order, what came back, and what happens next.
import { ask, get, part } from './api.js';
import { action, badge, facts, h, say, section, time } from './dom.js';
import { outcome } from './log.js';

export const pretty = (value) => {
  if (typeof value !== 'string') return JSON.stringify(value, null, 2);
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value;
  }
};

const attempt = (a) => h('li', { class: a.outcome === 'delivered' ? 'good' : 'bad' },
  h('h3', null, `Attempt ${a.attempt_number} `, outcome(a)), h('p', { class: 'sub' }, time(a.started_at), a.duration_ms !== null && `, ${Math.round(a.duration_ms)} ms`),
  a.error && h('p', null, a.error),
  a.response_headers && h('details', null, h('summary', null, 'Headers of the answer'), h('pre', null, a.response_headers)),
  a.response && h('details', { open: a.outcome !== 'delivered' }, h('summary', null, 'Body of the answer'), h('pre', null, pretty(a.response))));

export async function deliveryPage({ names: [event, name], may, go }) {
  const path = `/api/deliveries/${part(event)}/${part(name)}`;
  const d = await get(path);
  const again = async () => {
    await ask('POST', `${path}/redeliver`);
    say('It is sent again.');
    await go(location.pathname, true);
  };
  return [h('h1', null, 'Delivery'),
    facts([['Event', h('code', null, d.event_id)], ['Webhook', h('a', { href: `/subscriptions/${part(d.subscription)}` }, d.subscription)],
      ['About', d.entity_type && [h('a', { href: `/entity/${part(d.entity_type)}/${part(d.entity_id ?? '')}` }, `${d.entity_type} ${d.entity_id ?? ''}`), ` ${d.action_type}`]],
      ['State', d.state && badge(d.state, d.state === 'delivered' ? 'good' : d.state === 'pending' ? 'waits' : 'bad')],
      ['What happens next', d.why], ['Next attempt', d.pending && time(d.pending.next_attempt_at)]]),
    may('operator') && h('p', { class: 'buttons' }, action(d.pending ? 'Retry now' : 'Send again', again), h('a', { class: 'button', href: `/why?event=${part(d.event_id)}&subscription=${part(d.subscription)}` }, 'Why?')),
    section('Attempts', d.attempts.length ? h('ol', { class: 'line' }, d.attempts.map(attempt)) : h('p', { class: 'empty' }, 'It was not tried yet.')),
    d.dead_letter && section('What was to be sent', h('pre', null, pretty(d.dead_letter.result)), d.dead_letter.previous && [h('h3', null, 'Before the change'), h('pre', null, pretty(d.dead_letter.previous))]),
    section('The request', h('p', null, 'Its body is made for each attempt, from the event. ', h('a', { href: `/subscriptions/${part(d.subscription)}/edit#preview` }, 'Preview of the request')))];
}
