// The frame of the console: who is logged in, the navigation, and the page that the address names.
//
// A page is { title, show(context) }: show asks for what it first shows, all at once, and returns an
// element; the page before stays until that is there. The context ends with the page: what it has
// asked for is aborted, and its looks at what is new stop.

import { getSession, logOut, setLogin } from './api.js';
import { fill, h } from './dom.js';
import { askLogin } from './login.js';
import { find, go, link, route, start } from './router.js';
import { heading, problem } from './widgets.js';
import { auditPage } from './audit.js';
import { deadPage } from './dead.js';
import { deliveryPage } from './delivery.js';
import { editPage, newPage } from './editor.js';
import { entityPage } from './entity.js';
import { listPage } from './list.js';
import { logPage } from './log.js';
import { sourcesPage } from './sources.js';
import { subscriptionPage } from './subscription.js';
import { tokensPage } from './tokens.js';
import { whyPage } from './why.js';
import { workerPage } from './worker.js';

const IDLE = 15 * 60_000; // nobody is there who looks at what is new: let the session end

route('/', listPage);
route('/subscriptions', listPage);
route('/subscriptions/:name', subscriptionPage);
route('/subscriptions/:name/edit', editPage);
route('/new', newPage);
route('/log', logPage);
route('/deliveries/:event/:subscription', deliveryPage);
route('/why', whyPage);
route('/entity', entityPage);
route('/entity/:type/:id', entityPage);
route('/sources', sourcesPage);
route('/dead', deadPage);
route('/tokens', tokensPage);
route('/audit', auditPage);
route('/worker', workerPage);

const navigation = [
  ['/', 'Subscriptions', 'viewer'],
  ['/log', 'Log', 'viewer'],
  ['/dead', 'Dead letters', 'operator'],
  ['/why', 'Why?', 'operator'],
  ['/entity', 'Entity', 'viewer'],
  ['/sources', 'Sources', null],
  ['/worker', 'Worker', 'viewer'],
  ['/tokens', 'Tokens', 'operator'],
  ['/audit', 'Audit', 'operator'],
];

const nav = h('nav', { 'aria-label': 'Pages' });
const who = h('div', { class: 'who' });
const main = h('main', { id: 'main', tabindex: '-1' });
const said = h('div', { class: 'hidden', role: 'status', 'aria-live': 'polite' });
let current = null;
let lastTouched = Date.now();

for (const event of ['pointerdown', 'keydown']) document.addEventListener(event, () => (lastTouched = Date.now()), true);

class Context {
  constructor(found) {
    this.params = found.params;
    this.query = found.query;
    this.ending = new AbortController();
    this.signal = this.ending.signal;
  }

  /** What these promises bring, with the session, in one round trip. */
  async load(...promises) {
    for (const p of promises) p?.catch?.(() => {}); // told by the one that is waited for
    this.session = await getSession();
    return Promise.all(promises);
  }

  get rights() {
    return this.session.rights;
  }

  /** Do this every few seconds while the page is shown and somebody looks at it. */
  every(milliseconds, f) {
    const turn = async () => {
      if (this.signal.aborted) return;
      if (document.visibilityState === 'visible' && Date.now() - lastTouched < IDLE) await f().catch(() => {});
      if (!this.signal.aborted) setTimeout(turn, milliseconds);
    };
    setTimeout(turn, milliseconds);
  }

  say(text) {
    fill(said, text);
  }

  /** Show this page again. */
  async again() {
    await showPage({ replace: true });
  }
}

function showFrame(session) {
  const path = window.location.pathname;
  const isHere = (href) => (href === '/' ? path === '/' || path.startsWith('/subscriptions') || path === '/new' : path === href || path.startsWith(`${href}/`));
  const items = navigation.filter(([, , right]) => right === null || session.rights[right] || (right === 'viewer' && session.rights.operator));
  fill(nav, h('ul', null, items.map(([href, label]) => h('li', null, link(href, { 'aria-current': isHere(href) ? 'page' : null }, label)))));
  const leave = async () => {
    await logOut();
    window.location.assign('/');
  };
  fill(who, h('span', { class: 'user', title: 'role @ database' }, session.user, h('span', { class: 'muted' }, ` @ ${session.database}`)),
    h('button', { type: 'button', class: 'small', onclick: leave }, 'Log out'));
}

async function showPage({ replace = false } = {}) {
  current?.ending.abort();
  const found = find();
  const context = new Context(found ?? { params: {}, query: {} });
  current = context;
  main.setAttribute('aria-busy', 'true');
  let element;
  let title = found?.page.title ?? 'Not found';
  try {
    element = found
      ? await found.page.show(context)
      : h('div', null, heading('There is no such page'), h('p', null, link('/', null, 'Subscriptions'), ' are a good place to begin.'));
    title = context.title ?? title;
  } catch (error) {
    if (context.signal.aborted) return;
    element = h('div', null, heading(title), problem(error));
  }
  if (context.signal.aborted) return;
  showFrame(await getSession());
  document.title = `${title} – pgwebhook`;
  fill(main, element);
  main.removeAttribute('aria-busy');
  if (!replace) {
    window.scrollTo(0, 0);
    const anchor = window.location.hash && document.getElementById(window.location.hash.slice(1));
    (anchor || element.querySelector('[autofocus]') || element.querySelector('h1'))?.focus({ preventScroll: !anchor });
    fill(said, title);
  }
}

// whoever logs in as somebody else sees the page as such
setLogin(async (before) => {
  const session = await askLogin(before);
  if (before && (before.user !== session.user || before.database !== session.database)) window.location.reload();
  return session;
});

fill(
  document.body,
  h('a', { class: 'skip', href: '#main' }, 'To the page'),
  h('header', null, link('/', { class: 'brand' }, h('img', { src: '/assets/icon.svg', alt: '', width: '22', height: '22' }), 'pgwebhook'), nav, who),
  main,
  said,
);
start(showPage);
if (window.location.pathname === '/subscriptions') go('/', { replace: true });
else showPage({ replace: true });
