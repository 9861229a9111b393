// Which page an address is, and how one gets from one to another without loading all anew.

import { h } from './dom.js';

const patterns = [];
let shown = null; // called when the address has changed

/** route('/log', page): `:name` is a segment, which the page gets decoded. */
export function route(pattern, page) {
  const names = [...pattern.matchAll(/:(\w+)/g)].map((m) => m[1]);
  patterns.push({ test: new RegExp(`^${pattern.replace(/:\w+/g, '([^/]+)')}/?$`), names, page });
}

export function find(location = window.location) {
  for (const { test, names, page } of patterns) {
    const m = test.exec(location.pathname);
    if (!m) continue;
    try {
      const params = Object.fromEntries(names.map((name, i) => [name, decodeURIComponent(m[i + 1])]));
      return { page, params, query: Object.fromEntries(new URLSearchParams(location.search)) };
    } catch {
      return null; // a % that is none
    }
  }
  return null;
}

let leaving = null; // asked before a page is left: returns false to stay

/** What is to be asked before this page is left; forgotten with the page. */
export function beforeLeaving(ask) {
  leaving = ask;
}

function mayLeave() {
  if (leaving && !leaving()) return false;
  leaving = null;
  return true;
}

export function go(href, { replace = false } = {}) {
  if (!replace && !mayLeave()) return;
  if (replace) history.replaceState(null, '', href);
  else history.pushState(null, '', href);
  shown?.({ replace });
}

/** Note a filter in the address, without a step in the history. */
export function note(href) {
  history.replaceState(null, '', href);
}

/** A link within the console. */
export function link(href, attributes, ...children) {
  return h('a', { ...attributes, href }, ...children);
}

export function start(show) {
  shown = show;
  document.addEventListener('click', (event) => {
    const a = event.target instanceof Element ? event.target.closest('a[href]') : null;
    if (!a || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (a.getAttribute('href').startsWith('#') || a.hasAttribute('download')) return;
    event.preventDefault();
    go(a.getAttribute('href'));
  });
  window.addEventListener('popstate', () => {
    leaving = null;
    shown({});
  });
  window.addEventListener('beforeunload', (event) => {
    if (leaving && !leaving(true)) event.preventDefault();
  });
}
