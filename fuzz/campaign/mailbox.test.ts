// A deadline counts the time that a process had: what it waited for a processor is added.
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Mailbox } from './mailbox.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** When 'late' comes for a deadline of 1,000 ms, where a share of the time is spent waiting. */
async function lateAt(share: number): Promise<number> {
  const start = Date.now();
  const mailbox = new Mailbox<string>();
  let at = Number.NaN;
  const waited = () => share * (Date.now() - start);
  const asked = mailbox
    .ask(() => {}, 1000, 'late', waited)
    .then((reply) => {
      expect(reply).toBe('late');
      at = Date.now() - start;
    });
  await vi.runAllTimersAsync();
  await asked;
  return at;
}

it('ends at the deadline where nothing waits', async () => {
  expect(await lateAt(0)).toBe(1000);
});

it('lets a process that had half of a processor run twice as long', async () => {
  const late = await lateAt(0.5);
  expect(late).toBeGreaterThan(1950);
  expect(late).toBeLessThanOrEqual(2000);
});

it('gives an answer that comes before', async () => {
  const mailbox = new Mailbox<string>();
  const asked = mailbox.ask(() => {}, 1000, 'late');
  mailbox.settle('answer');
  expect(await asked).toBe('answer');
  mailbox.settle('nobody asked');
});
