// Logging in, over whatever is shown: the page behind stays as it is, with what was typed in it.

import { databases, logIn } from './api.js';
import { fill, h } from './dom.js';
import { field, select, text } from './form.js';
import { problem } from './widgets.js';

/** Ask until somebody is logged in. before: the session that is over, or null. */
export function askLogin(before) {
  return new Promise((resolve) => {
    const user = text({ name: 'user', autocomplete: 'username', required: true, value: before?.user ?? '', autocapitalize: 'none' });
    const password = h('input', { type: 'password', name: 'password', autocomplete: 'current-password', required: true });
    const database = select({ name: 'database' }, before ? [before.database] : []);
    const databaseField = field('Database', database);
    const told = h('div', null);
    const button = h('button', { class: 'primary', type: 'submit' }, 'Log in');
    databaseField.hidden = true;

    const form = h(
      'form',
      { class: 'login' },
      h('h1', { id: 'login-title', class: 'brand' }, h('img', { src: '/assets/icon.svg', alt: '', width: '28', height: '28' }), 'pgwebhook'),
      before && h('p', null, 'Your session is over, or the program was restarted. Log in again; the page stays as it is.'),
      field('PostgreSQL role', user),
      field('Password', password),
      databaseField,
      told,
      button,
      h('p', { class: 'hint' }, 'Log in with a role of the database and its password. What you see and may do is what this role may.'),
    );
    const title = document.title;
    const dialog = h('dialog', { class: before ? null : 'whole', 'aria-labelledby': 'login-title' }, form);
    dialog.addEventListener('cancel', (event) => event.preventDefault());

    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      button.disabled = true;
      fill(told);
      try {
        const session = await logIn({ user: user.value, password: password.value, database: database.value || undefined });
        dialog.remove();
        document.title = title;
        resolve(session);
      } catch (error) {
        fill(told, problem(error));
        password.value = '';
        password.focus();
      } finally {
        button.disabled = false;
      }
    });

    document.title = 'Log in – pgwebhook';
    document.body.append(dialog);
    dialog.showModal();
    (before ? password : user).focus();
    databases()
      .then((known) => {
        fill(database, known.databases.map((name) => h('option', { value: name }, name)));
        if (before) database.value = before.database;
        databaseField.hidden = known.databases.length < 2;
      })
      .catch((error) => fill(told, problem(error)));
  });
}
