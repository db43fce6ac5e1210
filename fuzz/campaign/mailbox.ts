// mailbox.ts - one question to a process and the first thing that answers it: a message, its end,
// or the deadline. Whoever owns the process says what each of them is worth.

/** Less is no delay: a process gives up its processor now and then. */
const WAITED_MS = 10;

export class Mailbox<Reply> {
  private deliver: ((reply: Reply) => void) | null = null;

  /**
   * Resolves with what is settled first after `send`, or with `late` after the deadline. What
   * `waitedMs`, a clock that only grows, gains meanwhile does not count: time in which the process
   * could have run and was not let.
   */
  ask(
    send: () => void,
    deadlineMs: number,
    late: Reply,
    waitedMs: () => number = () => 0,
  ): Promise<Reply> {
    return new Promise((resolve) => {
      let waited = waitedMs();
      const expire = () => {
        const now = waitedMs();
        const more = now - waited;
        waited = Math.max(now, waited);
        if (more >= WAITED_MS) timer = setTimeout(expire, more);
        else this.settle(late);
      };
      let timer = setTimeout(expire, deadlineMs);
      this.deliver = (reply) => {
        clearTimeout(timer);
        resolve(reply);
      };
      send();
    });
  }

  /** Answers the question that is open; without one, nothing. */
  settle(reply: Reply): void {
    const { deliver } = this;
    this.deliver = null;
    deliver?.(reply);
  }
}
