// mutation-site.ts - every place of a source file where a systematic mutant can be made.
//
// Four kinds, as in the literature on mutation analysis (operators, constants, off-by-one, deleted
// statements): the point is that nobody chose them. Work is on text, line by line: comments,
// strings, preprocessor lines, assertions and template parameter lists are left alone, and whether
// an edit still compiles is for the compiler to say (generate.ts). Each site becomes an edit whose
// `find` is the line, with as many lines before it as make it unique.

export const MUTATION_KINDS = ['operator', 'constant', 'off-by-one', 'deleted-statement'] as const;
export type MutationKind = (typeof MUTATION_KINDS)[number];

export interface MutationSite {
  readonly kind: MutationKind;
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly find: string;
  readonly replace: string;
  /** What became what. */
  readonly change: string;
}

/** Each operator with what it becomes; those of two characters first, so that they are not cut. */
const OPERATORS: readonly (readonly [string, string])[] = [
  ['<<', '>>'],
  ['>>', '<<'],
  ['<=', '<'],
  ['>=', '>'],
  ['==', '!='],
  ['!=', '=='],
  ['&&', '||'],
  ['||', '&&'],
  ['+=', '-='],
  ['|=', '&='],
  ['+', '-'],
  ['-', '+'],
  ['*', '+'],
  ['/', '*'],
  ['%', '/'],
  ['&', '|'],
  ['|', '^'],
  ['<', '<='],
  ['>', '>='],
];

const anyOf = (...patterns: string[]) => new RegExp(`^(?:${patterns.join('|')})`);

/** Lines that hold no statement of the kernel, or none that a test could see. */
const SKIPPED = anyOf(
  String.raw`\s*(?:#|//|"|return "|public:|private:|$)`,
  String.raw`\s*(?:template|static_assert|using|namespace|struct|class|extern|DEV_UNROLL)\b`,
);
/** Starts of declarations: deleting one does not compile. */
const DECLARATION = anyOf(
  '(?:const|constexpr|static|auto|return|break|continue|goto)',
  String.raw`(?:u?int(?:8|16|32|64)?(?:_t)?|size_t|float2?|double|bool|char|uint4|void)\b`,
  String.raw`[A-Z]\w*(?:<[^;=]*>)? \w+[;({=]`,
);

export function mutationSites(file: string, text: string): MutationSite[] {
  const lines = text.split('\n');
  return lines.flatMap((line, i) => {
    if (SKIPPED.test(line)) return [];
    const code = codeOf(line);
    const edits = [...operators(code), ...constants(code), ...offByOne(code), ...deleted(code)];
    return edits.flatMap(({ kind, at, length, by, change }) => {
      const changed = line.slice(0, at) + by + line.slice(at + length);
      const site = uniqueEdit(lines, i, changed, text);
      return site === null ? [] : [{ kind, file, line: i + 1, change, ...site }];
    });
  });
}

interface LineEdit {
  readonly kind: MutationKind;
  readonly at: number;
  readonly length: number;
  readonly by: string;
  readonly change: string;
}

/** The line with its comment and its strings blanked out, at the same places. */
function codeOf(line: string): string {
  const blank = (found: string) => ' '.repeat(found.length);
  return line
    .replace(/"(?:[^"\\]|\\.)*"/g, blank)
    .replace(/'(?:[^'\\]|\\.)*'/g, blank)
    .replace(/\/\*.*?\*\/|\/\/.*$/g, blank);
}

/** Binary operators with a space on either side, as clang-format leaves them. */
function operators(code: string): LineEdit[] {
  const edits: LineEdit[] = [];
  for (const match of code.matchAll(/ (<<|>>|[<>=!]=|&&|\|\||[+|]=|[-+*/%&|<>]) /g)) {
    const [, from] = match;
    const to = OPERATORS.find(([operator]) => operator === from)?.[1];
    if (to === undefined) continue;
    const change = `${from} became ${to}`;
    edits.push({ kind: 'operator', at: match.index + 1, length: from.length, by: to, change });
  }
  return edits;
}

/** Integers become one more or, from 2 on, one less too; other numbers are doubled. */
function constants(code: string): LineEdit[] {
  const edits: LineEdit[] = [];
  for (const match of code.matchAll(/(?<![\w.])(0x[0-9a-f]+|\d+\.\d*|\d+)(u|f)?(?![\w.])/gi)) {
    const [whole, digits, suffix = ''] = match;
    const isHex = digits.startsWith('0x');
    const value = Number(digits);
    const text = (x: number) =>
      (isHex ? `0x${x.toString(16).padStart(digits.length - 2, '0')}` : String(x)) + suffix;
    const others = digits.includes('.')
      ? [`${digits} * 2`.replace(digits, whole)]
      : [text(value + 1), ...(value >= 2 ? [text(value - 1)] : [])];
    for (const by of others) {
      const change = `${whole} became ${by}`;
      edits.push({ kind: 'constant', at: match.index, length: whole.length, by, change });
    }
  }
  return edits;
}

/** Indices and loop limits that are one too large. */
function offByOne(code: string): LineEdit[] {
  const edits: LineEdit[] = [];
  for (const match of code.matchAll(/\[(\w+)\]/g)) {
    const by = `[${match[1]} + 1]`;
    const change = `${match[0]} became ${by}`;
    edits.push({ kind: 'off-by-one', at: match.index, length: match[0].length, by, change });
  }
  for (const match of code.matchAll(/(?<=for \([^;]*; )(\w+) < ([^;]+);/g)) {
    const by = `${match[1]} + 1 < ${match[2]};`;
    const change = `the loop to ${match[2]} ends one earlier`;
    edits.push({ kind: 'off-by-one', at: match.index, length: match[0].length, by, change });
  }
  return edits;
}

/** A statement that fills its line: a call or an assignment. */
function deleted(code: string): LineEdit[] {
  const statement = code.trim();
  const isStatement = /^[a-zA-Z_][^{}]*[=(][^{}]*;$/.test(statement);
  if (!isStatement || DECLARATION.test(statement) || /^(if|for|while|else)\b/.test(statement)) {
    return [];
  }
  const at = code.indexOf(statement);
  const change = `deleted: ${statement}`;
  return [{ kind: 'deleted-statement', at, length: statement.length, by: ';', change }];
}

/** The edit as whole lines: with lines before it until it occurs once. */
function uniqueEdit(
  lines: readonly string[],
  at: number,
  changed: string,
  text: string,
): { find: string; replace: string } | null {
  for (let from = at; from >= 0 && from > at - 12; from--) {
    const before = lines.slice(from, at).map((line) => `${line}\n`);
    const find = before.join('') + lines[at];
    if (text.indexOf(find) === text.lastIndexOf(find)) {
      return { find, replace: before.join('') + changed };
    }
  }
  return null;
}
