// What the browser programs share: a browser, people who log in, and what they say to the test that
// has started them (WebhookBrowser.pm).
//
//   await play(async ({ person, check, sql, restart, given }) => { ... });
//
// Facts are waited for, never time: expect.poll, and Playwright's own waiting for elements.

import { chromium } from 'playwright-core';
import { createInterface } from 'node:readline';

export const given = JSON.parse(process.env.CONSOLE);
const PATIENCE = Number(process.env.PATIENCE ?? 60) * 1000;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

async function ask(wish) {
  say(wish);
  const { value } = await lines.next();
  const { out, error } = JSON.parse(value);
  if (error) throw new Error(error);
  return out;
}

export const sql = (text) => ask({ sql: text });
export const requests = (path) => ask({ requests: path });
export const restart = () => ask({ ask: 'restart' });
export const restartServer = () => ask({ ask: 'restart server' });

/** Wait until f returns something true, which is returned. */
export async function until(what, f) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const answer = await f();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A test: f says whether, by what it returns or by throwing. */
export async function check(what, f) {
  let ok = false;
  let why;
  try {
    const answer = await f();
    ok = answer === undefined || answer === true;
    if (!ok) why = `got ${JSON.stringify(answer)}`;
  } catch (error) {
    why = String(error.stack ?? error).slice(0, 1500);
  }
  say({ ok, what, why });
}

/** Somebody with a browser of their own. Notes what must never happen. */
export class Person {
  static async enter(browser, options = {}) {
    const p = new Person();
    p.context = await browser.newContext({ viewport: { width: 1280, height: 900 }, timezoneId: 'Europe/Berlin', ...options });
    p.context.setDefaultTimeout(PATIENCE);
    p.page = await p.context.newPage();
    p.wrong = [];
    p.requests = [];
    p.page.on('pageerror', (error) => p.wrong.push(`error: ${error.stack}`));
    p.page.on('dialog', (dialog) => (dialog.type() === 'beforeunload' ? dialog.accept() : p.wrong.push(`dialog: ${dialog.message()}`)));
    p.page.on('console', (m) => {
      if (/Content Security Policy|Trusted/i.test(m.text())) p.wrong.push(`policy: ${m.text()}`);
    });
    const timing = (request, kind) => /\/api\//.test(request.url()) && p.requests.push({ kind, url: request.url().replace(given.url, ''), at: performance.now() });
    p.page.on('request', (r) => timing(r, 'asked'));
    p.page.on('requestfinished', (r) => timing(r, 'answered'));
    await p.page.addInitScript(() => {
      window.violations = [];
      document.addEventListener('securitypolicyviolation', (e) => window.violations.push(`${e.violatedDirective} ${e.blockedURI}`));
    });
    return p;
  }

  async open(path) {
    await this.page.goto(given.url + path);
    await this.page.locator('main h1').first().waitFor();
  }

  async logIn(user, path = '/') {
    await this.page.goto(given.url + path);
    await this.page.getByLabel('PostgreSQL role').fill(user);
    await this.page.getByLabel('Password').fill(given.password);
    await this.page.getByRole('button', { name: 'Log in' }).click();
    await this.page.locator('main h1').first().waitFor();
    return this;
  }

  text(selector = 'main') {
    return this.page.locator(selector).innerText();
  }

  async sees(pattern, selector = 'main') {
    let seen = '';
    try {
      await until('', async () => pattern.test((seen = await this.text(selector))));
    } catch {
      throw new Error(`not in time: ${pattern}; what is there ends with: ${seen.slice(-1500)}`);
    }
    return true;
  }

  button(name, within = this.page) {
    return within.getByRole('button', { name });
  }

  section(name) {
    return this.page.getByRole('region', { name, exact: true });
  }

  /** By keyboard: go there and press a key, or write. */
  async press(locator, key) {
    await this.tabTo(locator);
    await this.page.keyboard.press(key);
  }

  async write(locator, text) {
    await this.tabTo(locator);
    await this.page.keyboard.press('Control+A');
    await this.page.keyboard.insertText(text);
  }

  /** Choose in a select: its options are found by the letters that are typed. */
  async choose(locator, text) {
    await this.tabTo(locator);
    await this.page.keyboard.type(text);
    const value = await locator.inputValue();
    if (value !== text) throw new Error(`the select has ${value}`);
  }

  /** Press Tab until this has the focus. */
  async tabTo(locator, most = 120) {
    await locator.waitFor();
    for (let i = 0; i < most; i += 1) {
      if (await locator.evaluate((e) => e === document.activeElement)) return;
      await this.page.keyboard.press('Tab');
    }
    throw new Error(`not reached by Tab: ${locator}`);
  }
}

export async function play(scene) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium' });
  try {
    await scene({ browser, person: (options) => Person.enter(browser, options) });
    say({ done: true });
  } catch (error) {
    say({ ok: false, what: 'the scene is played to its end', why: String(error.stack) });
    process.exitCode = 1;
  } finally {
    await browser.close();
    process.stdin.destroy();
  }
}
