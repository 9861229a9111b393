// The filter, tried on the newest events before it is saved.

import { post } from './api.js';
import { entityLink } from './attempts.js';
import { fill, h } from './dom.js';
import { area, field, later } from './form.js';
import { plural, time } from './format.js';
import { table } from './widgets.js';

/** others: what else decides which events are received, as it is in the form. */
export function filterField(s, others, context) {
  const input = area({ name: 'filter', rows: '2', value: s.filter ?? '', placeholder: '$.result.status == "paid" && $.previous.status != "paid"' });
  const place = h('div', { class: 'matches', 'aria-live': 'polite' });
  const element = field('Filter', input, { wide: true, hint: 'A jsonpath predicate over result, previous, entity_type and action_type. Empty: all of these events.', after: place });
  const value = () => input.value.trim() || null;

  async function attempt() {
    const error = element.querySelector(':scope > .error');
    try {
      const found = await post('/api/match', { ...others(), filter: value() }, context.signal);
      fill(error);
      input.removeAttribute('aria-invalid');
      draw(found);
    } catch (problem) {
      if (problem.name === 'AbortError') return;
      fill(place, problem.field === 'filter' || h('p', { class: 'muted' }, 'It cannot be tried: ', problem.message));
      if (problem.field !== 'filter') return;
      fill(place);
      input.setAttribute('aria-invalid', 'true');
      fill(error, h('strong', null, problem.message), problem.detail && ` ${problem.detail}`);
    }
  }

  function draw(found) {
    if (found.tried === 0) {
      fill(place, h('p', { class: 'muted' }, 'There is no event yet to try it on.'));
      return;
    }
    const these = `matches ${found.matched} of the last ${plural(found.tried, 'event')}`;
    const unknown = found.unmatchable > 0 ? `; of ${found.unmatchable} it cannot be told: they would become dead letters` : '';
    const open = place.querySelector('details')?.open ?? false;
    fill(place, found.items.length === 0
      ? h('p', null, h('strong', null, these), unknown)
      : h('details', { open }, h('summary', null, h('strong', null, these), unknown, ', these'),
        table([
          { label: 'Time', cell: (e) => time(e.created_at) },
          { label: 'Event', class: 'tight', cell: (e) => h('span', { class: 'id' }, e.event_id) },
          { label: 'Entity', cell: (e) => entityLink(e.entity_type, e.entity_id) },
          { label: 'Action', cell: (e) => e.action_type },
          { label: 'Matches', cell: (e) => (e.matched ? 'yes' : 'cannot be told') },
        ], found.items.slice(0, 20), { caption: 'Events that match' }),
        found.items.length > 20 && h('p', { class: 'muted' }, `and ${found.items.length - 20} more`)));
  }

  const soon = later(500, attempt);
  input.addEventListener('input', soon);
  return { element, value, soon };
}
