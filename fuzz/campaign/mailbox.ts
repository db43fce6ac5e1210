// mailbox.ts - one question to a process and the first thing that answers it: a message, its end,
// or the deadline. Whoever owns the process says what each of them is worth.

export class Mailbox<Reply> {
  private deliver: ((reply: Reply) => void) | null = null;

  /** Resolves with what is settled first after `send`, or with `late` after the deadline. */
  ask(send: () => void, deadlineMs: number, late: Reply): Promise<Reply> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.settle(late), deadlineMs);
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
