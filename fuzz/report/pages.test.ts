// Pages in a real browser, over its debugging pipe: the documents and a campaign's report ask for
// nothing from outside, fit a phone, print, and run no script that came with data. Skipped where
// there is no Chromium; .ci/run installs it.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../campaign/package-root.js';
import { page, text } from './html.js';

const root = packageRoot();
const browser = ['chromium', 'chromium-browser', 'google-chrome'].find(
  (name) => spawnSync(name, ['--version']).status === 0,
);
const work = mkdtempSync(join(tmpdir(), 'kvproof-pages-'));
const phone = { width: 390, height: 844, deviceScaleFactor: 1, mobile: true };

interface Message {
  id?: number;
  method?: string;
  params?: { request?: { url: string } };
  // biome-ignore lint/suspicious/noExplicitAny: answers of the protocol, one shape a method
  result?: any;
}

/** One tab of a browser. Messages are JSON, each closed by a zero byte, on descriptors 3 and 4. */
class Tab {
  private readonly child: ChildProcess;
  private rest = '';
  private id = 0;
  private session = '';
  private readonly answers = new Map<number, (message: Message) => void>();
  private loaded = () => {};
  readonly requests: string[] = [];

  constructor(program: string) {
    const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--remote-debugging-pipe'];
    this.child = spawn(program, [...flags, `--user-data-dir=${join(work, 'profile')}`], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    });
    (this.child.stdio[4] as Readable).on('data', (chunk) => {
      const messages = `${this.rest}${chunk}`.split('\0');
      this.rest = messages.pop() ?? '';
      for (const message of messages) this.hear(JSON.parse(message));
    });
  }

  private hear(message: Message): void {
    if (message.id !== undefined) this.answers.get(message.id)?.(message);
    const { method, params } = message;
    if (method === 'Network.requestWillBeSent') this.requests.push(params?.request?.url ?? '');
    if (method === 'Page.loadEventFired') this.loaded();
  }

  async send(method: string, params: object = {}): Promise<Message['result']> {
    const id = ++this.id;
    const session = this.session === '' ? {} : { sessionId: this.session };
    const answered = new Promise<Message>((resolve) => this.answers.set(id, resolve));
    const text = JSON.stringify({ id, method, params, ...session });
    (this.child.stdio[3] as Writable).write(`${text}\0`);
    return (await answered).result;
  }

  async open(): Promise<void> {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const attached = await this.send('Target.attachToTarget', { targetId, flatten: true });
    this.session = attached.sessionId;
    for (const domain of ['Page', 'Network', 'Runtime']) await this.send(`${domain}.enable`);
    await this.send('Emulation.setDeviceMetricsOverride', phone);
  }

  async visit(path: string): Promise<void> {
    this.requests.length = 0;
    const load = new Promise<void>((resolve) => {
      this.loaded = resolve;
    });
    await this.send('Page.navigate', { url: `file://${path}` });
    await load;
  }

  async evaluate(expression: string): Promise<unknown> {
    const { result } = await this.send('Runtime.evaluate', { expression });
    return result.value;
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await ended;
  }
}

/** What is wrong with a page, in words. */
async function complaints(tab: Tab, path: string): Promise<string[]> {
  await tab.visit(path);
  const wide = await tab.evaluate('document.documentElement.scrollWidth');
  const handlers = await tab.evaluate(
    `[...document.querySelectorAll('*')].flatMap((e) => [...e.attributes])
       .filter(({ name, value }) => name.startsWith('on') || /^javascript:/i.test(value)).length`,
  );
  const { data } = await tab.send('Page.printToPDF');
  const outside = tab.requests.filter((url) => url !== `file://${path}`);
  return [
    ...(wide === phone.width ? [] : [`${wide} pixels wide on a phone of ${phone.width}`]),
    ...(handlers === 0 ? [] : [`${handlers} attributes that are scripts`]),
    ...(data.length > 2000 ? [] : ['prints nothing']),
    ...outside.map((url) => `asks for ${url}`),
  ];
}

function htmlFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.html'))
    .map((name) => join(folder, name));
}

function node(...args: string[]): void {
  const done = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`${args.join(' ')}: ${done.stdout}${done.stderr}`);
}

describe.skipIf(browser === undefined)('pages in a browser', () => {
  let tab: Tab;
  beforeAll(async () => {
    tab = new Tab(browser as string);
    await tab.open();
  }, 60_000);
  afterAll(async () => {
    await tab.close();
    // Processes that the browser started write to its profile for a moment longer.
    rmSync(work, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  });

  it('the documents', async () => {
    const folder = join(work, 'documents');
    node('.ci/pages.mjs', '--out', folder);
    const files = htmlFiles(folder);
    expect(files.length).toBeGreaterThan(20);
    const found: string[] = [];
    for (const file of files) {
      for (const what of await complaints(tab, file)) {
        found.push(`${file.slice(folder.length)}: ${what}`);
      }
    }
    expect(found).toEqual([]);
  }, 120_000);

  it("a campaign's report", async () => {
    const cli = join(root, 'dist', 'fuzz', 'cli.js');
    const campaign = join(work, 'campaign');
    const small = ['--runs', '2', '--no-corpus', '--seed', '1', '--property', 'exact-codes'];
    node(cli, 'fuzz', '--kernel', 'ref:', ...small, '--workdir', campaign);
    node(cli, 'report', campaign);
    expect(await complaints(tab, join(campaign, 'report.html'))).toEqual([]);
  }, 120_000);

  it('a script in the data is text, and what slipped through would not run', async () => {
    const attack = '<script>window.ran = 1</script><img src="x.png" onerror="window.ran = 1">';
    const path = join(work, 'attack.html');
    writeFileSync(path, page('attack', text(attack)));
    expect(await complaints(tab, path)).toEqual([]);
    expect(await tab.evaluate('document.body.textContent.includes("window.ran")')).toBe(true);
    writeFileSync(path, page('attack', attack));
    expect(await complaints(tab, path)).toContain('1 attributes that are scripts');
    expect(await tab.evaluate('window.ran')).toBeUndefined();
  }, 60_000);

  it('notices a page that is too wide, or that asks for something', async () => {
    const path = join(work, 'wide.html');
    writeFileSync(path, page('wide', '<div style="width: 900px">wide</div>'));
    expect(await complaints(tab, path)).toContainEqual(expect.stringContaining('pixels wide'));
    writeFileSync(path, '<!doctype html><link rel="stylesheet" href="other.css">');
    expect((await complaints(tab, path)).join()).toContain('other.css');
  }, 60_000);
});
