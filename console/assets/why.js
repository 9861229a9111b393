// Why did a subscription not get an event? Every step of the way is looked at, and told.

import { get, path, withQuery } from './api.js';
import { deliveryLink } from './attempts.js';
import { h } from './dom.js';
import { field, text } from './form.js';
import { sentence } from './format.js';
import { go, link } from './router.js';
import { badge, empty, heading, mark, problem, section } from './widgets.js';

const steps = {
  source: 'Watched', captured: 'Captured', read: 'Read by the worker', subscription: 'The subscription', events: 'Its events',
  tenant: 'Its tenant', filter: 'Its filter', changed_columns: 'Its changed columns', exclude_origins: 'Its excluded origins', delivery: 'Delivery',
};

const verdicts = {
  delivered: 'It got it.', pending: 'It has not got it yet.', dead: 'It did not get it, and is not tried again.', failed: 'It did not get it.', not_read: 'The worker has not read it yet.',
  not_matched: 'It was not for it.', not_found: 'There is no such event.', inactive: 'The subscription did not take events then.',
};

function answer(a) {
  return section('Answer',
    h('p', { class: 'lead' }, badge(a.verdict), ' ', h('strong', null, verdicts[a.verdict] ?? ''), ' ', sentence(a.explanation)),
    h('ol', { class: 'steps' }, a.steps.map((s) => h('li', null, mark(s.ok), h('div', null, h('strong', null, steps[s.step] ?? s.step), h('p', null, sentence(s.text)))))),
    ['delivered', 'pending', 'dead', 'failed'].includes(a.verdict) &&
      h('p', null, deliveryLink(a.event_id, a.subscription, 'Every attempt of this delivery'), ' or ', link(withQuery('/log', { event: a.event_id }), null, 'all attempts of this event'), '.'),
    a.verdict === 'not_matched' && h('p', null, link(path`/subscriptions/${a.subscription}/edit`, null, 'Change what it receives'), '.'));
}

export const whyPage = {
  title: 'Why?',
  async show(context) {
    const { event = '', subscription = '' } = context.query;
    const asked = event && subscription ? get(withQuery('/api/why', { event, subscription }), context.signal).catch((error) => error) : null;
    const [result, list] = await context.load(asked, get('/api/subscriptions', context.signal));
    if (result?.name === 'AbortError') throw result;
    const eventInput = text({ name: 'event', value: event, required: true, placeholder: 'evt_… or its number', autofocus: !event });
    const names = h('datalist', { id: 'subscriptions' }, list.items.map((s) => h('option', { value: s.name })));
    const subscriptionInput = text({ name: 'subscription', value: subscription, required: true, list: 'subscriptions' });
    const form = h('form', { class: 'filter' }, field('Event id', eventInput), field('Subscription', subscriptionInput), names,
      h('div', { class: 'actions' }, h('button', { type: 'submit', class: 'primary' }, 'Ask')));
    form.addEventListener('submit', (e) => {
      e.preventDefault();
      go(withQuery('/why', { event: eventInput.value.trim(), subscription: subscriptionInput.value }));
    });
    const shown = result instanceof Error ? problem(result) : result ? answer(result) : empty('Which event, and which subscription?',
      'The id of an event is in the header of its requests, in the ', link('/log', null, 'log'), ', and in webhook.outbox. Of the entity, ', link('/entity', null, 'all deliveries'), ' can be listed.');
    return h('div', null, heading('Why did it not get an event?'), form, shown);
  },
};
