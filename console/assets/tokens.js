// Tokens of programs: made, shown once, revoked.

import { get, path, post, remove } from './api.js';
import { fill, h } from './dom.js';
import { clearErrors, field, showError, text } from './form.js';
import { fromLocalInput, time } from './format.js';
import { actionButton, badge, confirm, empty, heading, section, shownOnce, table } from './widgets.js';

export const tokensPage = {
  title: 'Tokens',
  async show(context) {
    const [list] = await context.load(get('/api/tokens', context.signal));
    const told = h('div', null);
    const place = h('div', null);
    const name = text({ name: 'name', required: true, placeholder: 'deploy script' });
    const role = text({ name: 'role', required: true, value: context.session.user });
    const expires = h('input', { type: 'datetime-local', name: 'expires_at' });

    async function revoke(t) {
      const yes = await confirm({ title: `Revoke “${t.name}”?`, text: 'Programs that use it are refused from now on.', action: 'Revoke', danger: true });
      if (!yes) return;
      await remove(path`/api/tokens/${t.name}`);
      draw(await get('/api/tokens', context.signal));
    }

    function draw({ items }) {
      fill(place, items.length > 0
        ? table([
          { label: 'Name', cell: (t) => t.name },
          { label: 'Role', cell: (t) => t.role },
          { label: 'Made', cell: (t) => [time(t.created_at), h('span', { class: 'muted' }, ` by ${t.created_by}`)] },
          { label: 'Expires', cell: (t) => (new Date(t.expires_at) < Date.now() ? badge('expired', 'bad') : time(t.expires_at)) },
          { label: 'Last used', cell: (t) => (t.last_used_at ? time(t.last_used_at, { ago: true }) : h('span', { class: 'muted' }, 'never')) },
          { label: 'Do', cell: (t) => actionButton('Revoke', () => revoke(t), { where: told, kind: 'small danger', title: `Revoke ${t.name}` }) },
        ], items, { caption: 'Tokens' })
        : empty('No token that you may see.', 'A program sends one in the header Authorization: Bearer. Make one below.'));
    }

    const form = h('form', { class: 'filter' }, field('Name', name, { hint: 'what it is for' }), field('Role', role, { hint: 'one that you are, or are a member of' }),
      field('Expires', expires, { hint: 'a year from now unless given' }), h('div', { class: 'actions' }, h('button', { type: 'submit', class: 'primary' }, 'Make a token')));
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      clearErrors(form);
      fill(told);
      try {
        const made = await post('/api/tokens', { name: name.value, role: role.value, expires_at: fromLocalInput(expires.value) || undefined });
        fill(told, shownOnce(`Token “${made.name}”`, made.token));
        form.reset();
        role.value = context.session.user;
        draw(await get('/api/tokens', context.signal));
      } catch (error) {
        showError(form, error, told);
      }
    });
    draw(list);
    return h('div', null, heading('Tokens'), h('p', { class: 'muted' }, 'With a token a program may do what a role may. Only its digest is stored.'), place, section('New token', form), told);
  },
};
