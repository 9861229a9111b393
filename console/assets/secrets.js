// Secrets and credentials. A new secret is shown once; what is stored can be replaced and removed,
// and never be read.

import { path, post, put, remove } from './api.js';
import { fill, h } from './dom.js';
import { clearErrors, field, select, showError, text } from './form.js';
import { actionButton, confirm, notice, section, shownOnce } from './widgets.js';

function rotation(s) {
  const told = h('div', { 'aria-live': 'polite' });
  const overlap = text({ name: 'overlap', value: '24 hours' });
  const form = h('form', { class: 'filter' }, field('The old one signs for', overlap, { hint: '0 if it was stolen' }), h('div', { class: 'actions' }, h('button', { type: 'submit' }, 'Rotate the secret…')));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    clearErrors(form);
    const yes = await confirm({ title: `Rotate the secret of ${s.name}?`, text: `A new secret is made and shown once. Requests are signed with both for ${overlap.value}, then with the new one alone.`, action: 'Rotate' });
    if (!yes) return;
    try {
      const made = await post(`${path`/api/subscriptions/${s.name}`}/secret`, { overlap: overlap.value });
      fill(told, shownOnce('The new secret', made.secret));
    } catch (error) {
      showError(form, error, told);
    }
  });
  return h('div', null, form, told);
}

const kinds = [['bearer', 'bearer token'], ['basic', 'basic: user:password'], ['header', 'a header'], ['oauth2', 'OAuth 2'], ['client_certificate', 'client certificate'], ['client_key', 'its key'], ['ca', 'authority of the endpoint'], ['proxy', 'proxy']];

function credentials(s) {
  const told = h('div', { 'aria-live': 'polite' });
  const kind = select({ name: 'kind' }, kinds);
  const header = text({ name: 'header', placeholder: 'X-Api-Key' });
  const headerField = field('Header', header);
  const value = h('textarea', { name: 'value', rows: '2', autocomplete: 'off', spellcheck: 'false', required: true });
  headerField.hidden = true;
  kind.addEventListener('change', () => (headerField.hidden = kind.value !== 'header'));
  const name = () => (kind.value === 'header' ? `header:${header.value.trim()}` : kind.value);
  const address = () => path`/api/subscriptions/${s.name}/credentials/${name()}`;
  const take = async () => {
    const yes = await confirm({ title: `Remove the credential ${name()}?`, text: 'Requests are sent without it from now on.', action: 'Remove', danger: true });
    if (!yes) return;
    await remove(address());
    fill(told, notice('good', `${name()} is removed.`));
  };
  const form = h('form', { class: 'filter' }, field('Credential', kind), headerField, field('Value', value, { wide: true, hint: 'written only: it is never shown, here or in a log of ours' }),
    h('div', { class: 'actions' }, h('button', { type: 'submit' }, 'Set'), actionButton('Remove…', take, { where: told })));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    clearErrors(form);
    try {
      await put(address(), { value: value.value });
      value.value = '';
      fill(told, notice('good', `${name()} is set.`));
    } catch (error) {
      showError(form, error, told);
    }
  });
  return h('details', null, h('summary', null, 'Credentials that requests carry'), form, told);
}

export function secretsSection(s) {
  return section('Secrets', h('p', { class: 'muted' }, 'Requests are signed so that the receiver knows whose they are. Secrets that are stored cannot be shown.'), rotation(s), credentials(s));
}
