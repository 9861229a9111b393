// Pictures of the console with the demo's data, for the pages: make pictures. node pictures.mjs URL ROLE PASSWORD DIRECTORY
import { chromium } from 'playwright-core';

const [url, role, password, directory] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'] });
const page = await browser.newPage({ viewport: { width: 1000, height: 640 }, locale: 'en-GB', timezoneId: 'UTC' });

async function at(path) {
  await page.goto(url + path);
  await page.locator('h1').waitFor();
  await page.waitForFunction(() => !document.querySelector('main[aria-busy]') && !/\bLoading\b/.test(document.querySelector('main').textContent));
}
const picture = (name) => page.screenshot({ path: `${directory}/console-${name}.png` });

await at('/');
await page.getByLabel('Role').fill(role);
await page.getByLabel('Password').fill(password);
await page.getByRole('button', { name: 'Log in' }).click();
await page.getByRole('heading', { name: 'Webhooks' }).waitFor();
await at('/');
await picture('list');
await at('/log');
await picture('log');
await at('/log?outcome=failed');
await page.locator('tbody a[href^="/deliveries/"]').first().click();
await page.getByRole('heading', { name: 'Delivery' }).waitFor();
await page.getByText('Headers of the answer').first().click();
await picture('delivery');
await page.getByRole('link', { name: 'Why?' }).click();
await page.locator('.steps li').first().waitFor();
await picture('why');
await at('/subscriptions/crm/edit');
await page.getByRole('button', { name: 'Show the request' }).click();
await page.locator('#preview pre').waitFor();
await page.getByText('What is sent').evaluate((heading) => heading.scrollIntoView());
await picture('editor');
await page.setViewportSize({ width: 360, height: 640 });
await at('/');
await picture('telephone');
await browser.close();
