// The request that would be sent, beside the form: exact headers and body, of a real row.

import { post } from './api.js';
import { fill, h } from './dom.js';
import { field, later, readHeaders, readObject, select } from './form.js';
import { requestBlock } from './request.js';
import { likelyType, rowChooser } from './test.js';
import { notice } from './widgets.js';

/** current: what the form has, as text. */
export function previewPane(current, events, sources, context) {
  const chooser = rowChooser({ type: likelyType(events, sources) }, sources);
  const action = select({ name: 'action_type', value: 'update' }, ['new', 'update', 'delete', 'test']);
  const place = h('div', { 'aria-live': 'off' });
  let turn = 0;

  async function draw() {
    const mine = (turn += 1);
    try {
      const c = current();
      const url = /^https?:\/\/./.test(c.url) ? c.url : undefined;
      const made = await post('/api/preview', {
        profile: c.profile, url, headers: readHeaders(c.headers, 'headers'), params: readObject(c.params, 'params'), transform: c.transform || undefined, action_type: action.value, ...chooser.values(),
      }, context.signal);
      if (mine === turn) fill(place, requestBlock(made));
    } catch (error) {
      if (mine !== turn || error.name === 'AbortError') return;
      fill(place, notice('info', 'No request can be shown yet.', h('p', null, error.message, error.detail && ` ${error.detail}`, error.hint && ` ${error.hint}`)));
    }
  }

  const soon = later(400, draw);
  for (const control of [chooser.entityType, chooser.entityId, action]) control.addEventListener('input', soon);
  const element = h('aside', { class: 'preview', 'aria-label': 'Preview' },
    h('h2', null, 'What is sent'),
    h('div', { class: 'filter' }, field('Row of', chooser.entityType), field('Key', chooser.entityId), field('Action', action)), place);
  return { element, draw };
}
