// The test button: a real request with a row that is chosen, and what came back.

import { get, path, post } from './api.js';
import { deliveryLink, outcome } from './attempts.js';
import { fill, h } from './dom.js';
import { clearErrors, field, select, showError, text } from './form.js';
import { milliseconds } from './format.js';
import { block, notice, section } from './widgets.js';

/** The entity type among the watched ones whose row is the likeliest choice for these events. */
export function likelyType(events, sources) {
  const types = sources.map((s) => s.entity_type);
  return types.find((t) => !events || events.some((e) => e === '*.*' || e.startsWith('*.') || e.startsWith(`${t}.`))) ?? types[0];
}

/** A choice of a row: its entity type among those that are watched, and its key. */
export function rowChooser({ type = '', id = '' } = {}, sources = []) {
  const types = [...new Set(sources.map((s) => s.entity_type))];
  const entityType = select({ name: 'entity_type', value: types.includes(type) ? type : '' }, [['', 'made up'], ...types]);
  const entityId = text({ name: 'entity_id', value: id, placeholder: 'the newest row' });
  const show = () => (entityId.disabled = entityType.value === '');
  entityType.addEventListener('change', show);
  show();
  const values = () => ({ entity_type: entityType.value || undefined, entity_id: (entityType.value && entityId.value.trim()) || undefined });
  return { entityType, entityId, values };
}

function result(r, s) {
  const a = r.attempt;
  const good = !r.error;
  return notice(good ? 'good' : 'bad', good ? 'Delivered.' : 'Not delivered.',
    h('p', null, good
      ? `The endpoint answered with ${r.http_status}, which counts as success by the profile ${s.profile}.`
      : `${r.error}.${r.http_status ? ` By the profile ${s.profile} this is a failure.` : ''}`),
    a && h('p', null, outcome(a), ' in ', milliseconds(a.duration_ms), ' ', deliveryLink(r.event_id, s.name, 'its page')),
    a?.response ? block(a.response, 'Response', { lay: true }) : a && h('p', { class: 'muted' }, 'The response had no body.'));
}

export function testSection(s, context) {
  const place = h('div', { 'aria-live': 'polite' });
  const box = h('div', null);
  const button = h('button', { type: 'submit', class: 'primary' }, 'Send a test');
  const form = h('form', { class: 'filter' }, box, h('div', { class: 'actions' }, button));
  let chooser = rowChooser();
  const draw = () => fill(box, field('Row of', chooser.entityType), field('Key', chooser.entityId));
  draw();
  get('/api/sources', context.signal).then(({ items }) => {
    chooser = rowChooser({ type: likelyType(s.events, items) }, items);
    draw();
  }, () => null);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    clearErrors(form);
    button.disabled = true;
    fill(place, h('p', { class: 'muted' }, 'Waiting for the answer…'));
    try {
      const answer = await post(`${path`/api/subscriptions/${s.name}`}/test`, chooser.values());
      fill(place, result(answer, s));
    } catch (error) {
      fill(place);
      showError(form, error, place);
    } finally {
      button.disabled = false;
    }
  });
  return section('Test', h('p', { class: 'muted' }, 'Sends one request with this row and action_type test, now, and shows the answer.'), form, place);
}
