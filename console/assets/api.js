// Requests of the HTTP API: docs/console.md. What is not an answer is thrown, with the server's own texts.

export const session = { csrf: null, user: null, database: null, rights: {} };

export class Problem extends Error {
  constructor(body, status) {
    super(body.title ?? `The server answered with status ${status}.`);
    this.status = status;
    for (const name of ['detail', 'hint', 'code', 'field']) this[name] = body[name] ?? null;
    if (body.reference) this.hint = `The log of pgwebhook has more, under ${body.reference}.`;
  }
}

export async function ask(method, path, body, headers) {
  const options = { method, headers: { ...headers } };
  if (method !== 'GET') {
    options.headers['Content-Type'] = 'application/json';
    if (session.csrf) options.headers['Webhook-CSRF'] = session.csrf;
    options.body = JSON.stringify(body ?? {});
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Problem({ title: 'pgwebhook cannot be reached.', hint: 'Is it running? Try again.' }, 0);
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    if (response.status === 401 && path !== '/api/session') dispatchEvent(new Event('logged-out'));
    throw new Problem(answer, response.status);
  }
  return answer;
}

export const get = (path) => ask('GET', path);
export const part = (name) => encodeURIComponent(name);

// A query of what is given.
export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return given.length ? `?${new URLSearchParams(given)}` : '';
}
