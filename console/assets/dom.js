// The one way in which these pages make elements. Text is always a text node: nothing that a
// stranger wrote (a payload, a response, a name, an error) can become markup, and addresses are
// the console's own.

const SVG = 'http://www.w3.org/2000/svg';

function add(parent, child) {
  if (Array.isArray(child)) for (const c of child) add(parent, c);
  else if (child instanceof Node) parent.append(child);
  else if (child !== null && child !== undefined && child !== false) parent.append(String(child));
}

function set(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
  else if (name === 'value' || name === 'checked' || name === 'disabled' || name === 'indeterminate') element[name] = value;
  else if (name === 'href' && !/^[/#](?!\/)/.test(value)) throw new Error('a link leads out of the console');
  else element.setAttribute(name, value === true ? '' : value);
}

/** h('p', { class: 'muted', onclick: f }, 'text', child, [children]): an element. Null and false are left out. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  // children first: a select takes its value only when its options are there
  add(element, children);
  for (const [name, value] of Object.entries(attributes ?? {})) set(element, name, value);
  return element;
}

/** The same for pictures. */
export function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  add(element, children);
  for (const [name, value] of Object.entries(attributes ?? {})) set(element, name, value);
  return element;
}

/** Put children in place of what an element has. */
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

let last = 0;

/** An id that no other element of the page has. */
export function newId() {
  return `n${++last}`;
}
