// One delivery: what became of it, every attempt on a time line, and what can be done.
//
// What was sent is not kept, only what came back. The request shown is made by the server now, with
// the row as it is now, in the subscription's profile: the page says so.

import { get, path, post, withQuery } from './api.js';
import { entityLink, outcome, worked } from './attempts.js';
import { fill, h } from './dom.js';
import { milliseconds, sentence, span, time } from './format.js';
import { link } from './router.js';
import { requestBlock } from './request.js';
import { actionButton, badge, block, empty, facts, heading, notice, section, words } from './widgets.js';

const EVERY = 3000;

function attemptItem(a, before, isLast) {
  const waited = before ? (new Date(a.started_at) - new Date(before.started_at) - before.duration_ms) / 1000 : null;
  return [
    waited !== null && h('li', { class: 'gap' }, `${span(waited)} later`),
    h('li', { class: worked(a) ? 'good' : 'bad' },
      h('div', { class: 'line' }, h('strong', null, `Attempt ${a.attempt_number}`), time(a.started_at), outcome(a), h('span', { class: 'muted' }, milliseconds(a.duration_ms))),
      a.error && h('p', null, a.error),
      a.response
        ? h('details', { open: isLast }, h('summary', null, `Response, ${a.response.length} characters`), block(a.response, `Response of attempt ${a.attempt_number}`, { lay: true }))
        : h('p', { class: 'muted' }, a.http_status === null ? 'No response came.' : 'The response had no body.')),
  ];
}

function waits(p) {
  if (!p) return null;
  const sentences = {
    retry: ['It is tried again ', time(p.next_attempt_at, { ago: true }), ', at ', time(p.next_attempt_at), ', because the last attempt failed: ', p.last_error ?? 'no reason is known', '.'],
    blocked: ['It waits for an earlier delivery of the same entity, so that they arrive in order.'],
    deferred: ['It is kept until the subscription can take it: while that is paused, disabled or its breaker is open, or is catching up.'],
    requested: ['Somebody asked for it to be sent again; it is about to be.'],
    in_flight: ['It is being sent at this moment.'],
  };
  return [h('li', { class: 'next' }, h('div', { class: 'line' }, h('strong', null, 'Next'), badge(p.state)), h('p', null, sentences[p.state] ?? words(p.state)))];
}

function timeLine(d) {
  const dead = d.dead_letter;
  return h('ol', { class: 'timeline' },
    d.created_at && h('li', null, h('div', { class: 'line' }, h('strong', null, 'Captured'), time(d.created_at)), h('p', { class: 'muted' }, 'written in the transaction that changed the row')),
    d.attempts.map((a, i) => attemptItem(a, d.attempts[i - 1], i === d.attempts.length - 1)),
    waits(d.pending),
    dead && h('li', { class: 'bad' }, h('div', { class: 'line' }, h('strong', null, 'Given up'), time(dead.given_up_at)), h('p', null, dead.reason)));
}

/** The request that this subscription makes of such an event, asked for when it is wanted. */
function requestSection(d, rights) {
  if (!rights.operator) return null;
  const place = h('div', null);
  const details = h('details', { class: 'section' }, h('summary', null, h('h2', null, 'Request')), place);
  const load = async () => {
    const s = await get(path`/api/subscriptions/${d.subscription}`);
    const made = await post('/api/preview', {
      profile: s.profile, url: s.url, headers: s.headers, params: s.params, transform: s.transform ?? undefined,
      entity_type: d.entity_type ?? undefined, entity_id: d.entity_id ?? undefined, action_type: d.action_type ?? undefined,
    });
    return [notice('info', 'Made now, of the row as it is now.',
      h('p', null, 'Requests that were sent are not kept. This one has the same address, headers and form; the id of the event, the time and the signature are its own.')), requestBlock(made)];
  };
  details.addEventListener('toggle', async () => {
    if (!details.open || place.childElementCount > 0) return;
    try {
      fill(place, await load());
    } catch (error) {
      fill(place, notice('info', 'It cannot be made now', h('p', null, `${error.message}. The row may be gone, or be in a table that your role may not read.`)));
    }
  });
  return details;
}

function actions(d, context, told) {
  if (!context.rights.operator) return null;
  const address = path`/api/deliveries/${d.event_id}/${d.subscription}/redeliver`;
  const waiting = d.pending && d.pending.state !== 'in_flight';
  const label = waiting ? 'Try now' : 'Redeliver';
  return actionButton(label, async () => {
    const { queued } = await post(address);
    await context.again();
    context.say(queued ? 'It is sent again.' : 'Nothing was queued.');
  }, { where: told, kind: 'primary', title: waiting ? 'without waiting for its time' : 'send it again, whatever became of it' });
}

export const deliveryPage = {
  title: 'Delivery',
  async show(context) {
    const { event, subscription } = context.params;
    const address = path`/api/deliveries/${event}/${subscription}`;
    const [first] = await context.load(get(address, context.signal));
    context.title = `${first.event_id} to ${subscription}`;
    const told = h('div', null);
    const top = h('div', null);
    const line = h('div', null);
    const button = h('span', null);
    let shown = '';

    function draw(d) {
      const now = JSON.stringify(d);
      if (now === shown) return;
      shown = now;
      fill(top,
        h('p', { class: 'lead' }, d.state ? badge(d.state, d.state === 'failed' || d.state === 'dead' ? 'bad' : undefined) : badge('failed', 'bad'), ' ', sentence(d.why)),
        facts([
          ['Event', h('code', null, d.event_id)],
          ['Subscription', link(path`/subscriptions/${d.subscription}`, null, d.subscription)],
          ['Entity', entityLink(d.entity_type, d.entity_id)],
          ['Action', d.action_type ? words(d.action_type) : 'not known yet'],
          ['Attempts', String(d.attempts.length || d.pending?.attempts || 0)],
          context.rights.operator && ['Reasons', link(withQuery('/why', { event: d.event_id, subscription: d.subscription }), null, 'Why?')],
        ]));
      fill(line, d.attempts.length + (d.pending ? 1 : 0) + (d.dead_letter ? 1 : 0) > 0 ? timeLine(d) : empty('No attempt is in the log.'));
      fill(button, actions(d, context, told));
    }

    draw(first);
    context.every(EVERY, async () => draw(await get(address, context.signal)));
    const dead = first.dead_letter;
    return h('div', null,
      heading(h('span', { class: 'id' }, first.event_id), button), told, top,
      section('Time line', line),
      requestSection(first, context.rights),
      dead && section('The event that is kept', dead.result && block(JSON.stringify(dead.result, null, 2), 'Result'), dead.previous && block(JSON.stringify(dead.previous, null, 2), 'Previous')));
  },
};
