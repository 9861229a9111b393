// Sending a range of events again: counted first, then confirmed.

import { get, path, post, withQuery } from './api.js';
import { fill, h } from './dom.js';
import { clearErrors, field, showError } from './form.js';
import { count, fromLocalInput, plural, timeText, toLocalInput } from './format.js';
import { confirm, notice, section } from './widgets.js';

export function replaySection(name, context) {
  const address = `${path`/api/subscriptions/${name}`}/replay`;
  const since = h('input', { type: 'datetime-local', name: 'since', step: '1', required: true, value: toLocalInput(new Date(Date.now() - 3_600_000).toISOString()) });
  const until = h('input', { type: 'datetime-local', name: 'until', step: '1' });
  const told = h('div', { 'aria-live': 'polite' });
  const button = h('button', { type: 'submit' }, 'Count…');
  const form = h('form', { class: 'filter' }, field('From', since), field('Until', until, { hint: 'now unless given' }), h('div', { class: 'actions' }, button));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    clearErrors(form);
    fill(told);
    button.disabled = true;
    const range = { since: fromLocalInput(since.value), until: fromLocalInput(until.value) };
    try {
      // what is counted is what is sent: the end is fixed by the count
      const found = await get(withQuery(address, range), context.signal);
      const waiting = found.pending > 0 ? ` ${count(found.pending)} of them wait already, and are not queued twice.` : '';
      if (found.matching === 0) {
        fill(told, notice('info', 'No event of that time is for this subscription.', h('p', null, 'Events are kept for webhook.retention. It is judged by what the subscription receives now.')));
        return;
      }
      const yes = await confirm({
        title: `Replay ${plural(found.matching, 'event')}?`,
        text: `Captured from ${timeText(found.since)} to ${timeText(found.until)}; they are sent to ${name} again, in order, also those that it has got.${waiting}`,
        action: `Replay ${count(found.matching)}`,
      });
      if (!yes) return;
      const { queued } = await post(address, { since: found.since, until: found.until });
      fill(told, notice('good', `${plural(queued, 'event')} queued.`));
    } catch (error) {
      showError(form, error, told);
    } finally {
      button.disabled = false;
    }
  });
  return section('Replay', h('p', { class: 'muted' }, 'Sends events of a range of time again. They are counted first.'), form, told);
}
