// Requests to the API, and its errors. Nothing else of these pages talks to the program.
//
// Who is not logged in is asked to, over the page as it stands, and the request is made again:
// so a session that ends, or a program that is restarted, loses nothing that was typed.

/** An error as the API tells it (RFC 9457); status 0: there was no answer. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.title ?? `the answer was ${status}`);
    this.name = 'Problem';
    this.status = status;
    this.detail = body.detail ?? null;
    this.hint = body.hint ?? null;
    this.code = body.code ?? null;
    this.field = body.field ?? null;
    this.reference = body.reference ?? null;
  }
}

let session = null;
let asking = null; // the login that is under way
let askLogin = null;

/** How to ask for a login: a function whose promise is the session. */
export function setLogin(ask) {
  askLogin = ask;
}

// Numbers of rows may have more digits than one of JavaScript's: they stay as they were written.
function exact(key, value, context) {
  if (typeof value !== 'number' || !context?.source || !JSON.rawJSON) return value;
  const long = context.source.replace(/\D/g, '').length > 17;
  return long || (Number.isInteger(value) && !Number.isSafeInteger(value)) ? JSON.rawJSON(context.source) : value;
}

async function send(method, path, { body, version, signal } = {}) {
  const headers = { Accept: 'application/json' };
  if (method !== 'GET') {
    headers['Content-Type'] = 'application/json';
    if (session) headers['Webhook-CSRF'] = session.csrf;
  }
  if (version) headers['If-Match'] = version;
  let response;
  let json;
  try {
    response = await fetch(path, {
      method,
      headers,
      signal,
      body: method === 'GET' ? undefined : JSON.stringify(body ?? {}),
      credentials: 'same-origin',
      redirect: 'error',
    });
    json = JSON.parse(await response.text(), exact);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(response?.status ?? 0, {
      title: 'pgwebhook does not answer',
      hint: 'It may have been stopped, or the network is down. Try again.',
    });
  }
  if (!response.ok) throw new Problem(response.status, json);
  return json;
}

// One login for all requests that want it.
function logInAgain() {
  asking ??= askLogin(session).finally(() => {
    asking = null;
  });
  return asking;
}

async function request(method, path, options) {
  // a write without the token of the session is refused, whoever sends it
  if (method !== 'GET' && !session) await getSession();
  for (;;) {
    try {
      return await send(method, path, options);
    } catch (error) {
      // a session that was renewed in another tab has another token
      const stale = error.status === 403 && error.code === null && method !== 'GET' && (await renewed());
      if (error.status !== 401 && !stale) throw error;
      if (!stale) session = await logInAgain();
      if (options?.signal?.aborted) throw error;
    }
  }
}

async function renewed() {
  const before = session?.csrf;
  session = await send('GET', '/api/session').catch(() => session);
  return session?.csrf !== before;
}

/** The session, asked for once. */
export async function getSession() {
  session ??= await request('GET', '/api/session');
  return session;
}

export async function logIn(values) {
  return send('POST', '/api/session', { body: values });
}

export async function logOut() {
  await send('DELETE', '/api/session').catch(() => null);
  session = null;
}

export const databases = () => send('GET', '/api/login');
export const get = (path, signal) => request('GET', path, { signal });
export const post = (path, body, signal) => request('POST', path, { body, signal });
export const put = (path, body) => request('PUT', path, { body });
export const patch = (path, body, version) => request('PATCH', path, { body, version });
export const remove = (path) => request('DELETE', path);

/** A path of parts, each encoded: path`/api/subscriptions/${name}/pause`. */
export function path(strings, ...values) {
  return strings.reduce((all, s, i) => all + encodeURIComponent(values[i - 1]) + s);
}

/** A path with the parameters that are not empty. */
export function withQuery(base, values) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value !== null && value !== undefined && value !== '') query.set(name, value);
  const text = query.toString();
  return text ? `${base}?${text}` : base;
}
