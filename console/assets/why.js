// Why did a webhook not get an event? Each question that delivery asks, with its answer.
import { get, query as made } from './api.js';
import { badge, h, problem } from './dom.js';

export async function whyPage({ query, go }) {
  const event = query.get('event') ?? '';
  const name = query.get('subscription') ?? '';
  const { items } = await get('/api/subscriptions');
  const form = h('form', { class: 'filters', onsubmit: (e) => {
    e.preventDefault();
    go(`/why${made({ event: form.elements.event.value.trim(), subscription: form.elements.subscription.value })}`);
  } }, h('label', null, 'Event id', h('input', { name: 'event', value: event, required: true, size: 40 })),
  h('label', null, 'Webhook', h('select', { name: 'subscription' }, items.map((s) => h('option', { value: s.name, selected: s.name === name }, s.name)))), h('button', { class: 'main' }, 'Explain'));
  const head = [h('h1', null, 'Why did a webhook not get an event?'), form];
  if (!event || !name) return [...head, h('p', { class: 'empty' }, 'The log and the receiver have the ids of events.')];
  let answer;
  try {
    answer = await get(`/api/why${made({ event, subscription: name })}`);
  } catch (error) {
    return [...head, problem(error)];
  }
  const mark = (ok) => (ok === null ? '?' : ok ? '\u2713' : '\u2717');
  return [...head, h('p', { class: 'answer' }, badge(answer.verdict, answer.verdict === 'delivered' ? 'good' : answer.verdict === 'pending' ? 'waits' : 'bad'), ' ', answer.explanation),
    h('ol', { class: 'steps' }, answer.steps.map((s) => h('li', { class: s.ok === null ? 'unknown' : s.ok ? 'good' : 'bad' },
      h('span', { 'aria-hidden': 'true' }, mark(s.ok)), h('span', { class: 'hidden' }, s.ok === null ? 'unknown' : s.ok ? 'yes' : 'no'), ' ', h('strong', null, s.step.replaceAll('_', ' ')), ' ', s.text)))];
}
