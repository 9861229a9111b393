// Which page is shown: the path says it. Links of this console change the path, and load nothing again.
import { get, ask, session } from './api.js';
import { h, button, field, problem, showProblem } from './dom.js';
import { listPage } from './list.js';
import { subscriptionPage } from './subscription.js';
import { editorPage } from './editor.js';
import { logPage, entityPage } from './log.js';
import { deliveryPage } from './delivery.js';
import { whyPage } from './why.js';
import { sourcesPage } from './sources.js';
import { tokensPage, auditPage, workerPage } from './access.js';

// path, page, title; and the right without which it says nothing
const PAGES = [
  [/^\/$|^\/subscriptions\/?$/, listPage, 'Webhooks'],
  [/^\/new$/, editorPage, 'New webhook'],
  [/^\/subscriptions\/([^/]+)\/edit$/, editorPage, 'Edit'],
  [/^\/subscriptions\/([^/]+)$/, subscriptionPage, null],
  [/^\/log$/, logPage, 'Log'],
  [/^\/entity\/([^/]+)\/([^/]+)$/, entityPage, 'Entity'],
  [/^\/deliveries\/([^/]+)\/([^/]+)$/, deliveryPage, 'Delivery'],
  [/^\/why$/, whyPage, 'Why not?'],
  [/^\/sources$/, sourcesPage, 'Tables'],
  [/^\/tokens$/, tokensPage, 'Tokens'],
  [/^\/audit$/, auditPage, 'Changes'],
  [/^\/worker$/, workerPage, 'Worker'],
];
const MENU = [
  ['/', 'Webhooks', 'viewer'], ['/log', 'Log', 'viewer'], ['/why', 'Why not?', 'operator'], ['/sources', 'Tables', null],
  ['/tokens', 'Tokens', 'operator'], ['/audit', 'Changes', 'operator'], ['/worker', 'Worker', 'viewer'],
];

const main = document.getElementById('main');
const top = document.getElementById('top');
let shown = 0;
let timers = [];

const may = (right) => !right || session.rights[right] || session.rights.owner || (right === 'viewer' && session.rights.operator);

function menu() {
  const here = location.pathname;
  top.replaceChildren(
    h('a', { class: 'brand', href: '/' }, 'pgwebhook'),
    h('nav', { 'aria-label': 'Pages' }, MENU.filter(([, , right]) => may(right)).map(([path, text]) => h('a', { href: path, 'aria-current': here === path ? 'page' : null }, text))),
    h('span', { class: 'who' }, `${session.user} in ${session.database} `, button('Log out', logOut)));
}

async function logOut() {
  await ask('DELETE', '/api/session').catch(() => {});
  location.assign('/');
}

// Runs again and again while the page is shown and seen.
function every(seconds, run) {
  const mine = shown;
  timers.push(setInterval(() => {
    if (mine === shown && document.visibilityState === 'visible') run();
  }, seconds * 1000));
}

export async function show() {
  const mine = ++shown;
  timers.forEach(clearInterval);
  timers = [];
  menu();
  const found = PAGES.map(([pattern, page, title]) => [location.pathname.match(pattern), page, title]).find(([match]) => match);
  if (!found) {
    main.replaceChildren(h('h1', null, 'There is no such page'), h('p', null, h('a', { href: '/' }, 'To the webhooks')));
    return;
  }
  const [match, page, title] = found;
  const names = match.slice(1).map(decodeURIComponent);
  document.title = `${title ?? names[0]} - pgwebhook`;
  main.setAttribute('aria-busy', 'true');
  let made;
  try {
    made = await page({ names, query: new URLSearchParams(location.search), every, may, go });
  } catch (error) {
    if (!error.status && error.status !== 0) throw error;
    made = [h('h1', null, title ?? names[0]), error.status === 403 ? h('p', null, `${session.user} may not see this.`) : null, problem(error)];
  }
  if (mine !== shown) return;
  main.removeAttribute('aria-busy');
  main.replaceChildren(...[made].flat().filter(Boolean));
}

export function go(path, replace) {
  history[replace ? 'replaceState' : 'pushState'](null, '', path);
  return show();
}

document.addEventListener('click', (event) => {
  const link = event.target.closest?.('a[href^="/"]');
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || link.target) return;
  event.preventDefault();
  go(link.getAttribute('href')).then(() => {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  });
});
addEventListener('popstate', show);
addEventListener('logged-out', () => logIn('The session is over. Log in again.'));

async function logIn(why) {
  shown++;
  timers.forEach(clearInterval);
  top.replaceChildren();
  const { databases } = await get('/api/login');
  const user = h('input', { name: 'user', autocomplete: 'username', required: true, autofocus: true });
  const form = h('form', { class: 'login', onsubmit: submit }, h('h1', null, 'pgwebhook'), why && h('p', null, why),
    field('Role', user, 'A role of PostgreSQL with webhook.grant_operator() or webhook.grant_viewer().'),
    field('Password', h('input', { name: 'password', type: 'password', autocomplete: 'current-password', required: true })),
    databases.length > 1 && field('Database', h('select', { name: 'database' }, databases.map((name) => h('option', null, name)))),
    h('p', null, h('button', { class: 'main' }, 'Log in')));
  async function submit(event) {
    event.preventDefault();
    const { elements } = form;
    try {
      const body = { user: elements.user.value, password: elements.password.value };
      if (elements.database) body.database = elements.database.value;
      Object.assign(session, await ask('POST', '/api/session', body));
      await show();
    } catch (error) {
      showProblem(form, error);
      elements.password.value = '';
    }
  }
  document.title = 'Log in - pgwebhook';
  main.replaceChildren(form);
  user.focus();
}

try {
  Object.assign(session, await get('/api/session'));
  await show();
} catch (error) {
  if (error.status === 401) await logIn();
  else main.replaceChildren(problem(error));
}
