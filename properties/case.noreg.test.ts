// Names of cases and bits of the generator never change: stored cases and findings depend on them.
import { describe, expect, it } from 'vitest';
import { CASE_SCHEMA, type Case, canonicalJson, caseHash } from './case.js';
import { below, derive, keyOf, normal, uniform, word } from './generator.js';
import { fnv1a64 } from './hash.js';
import { materialize, noSource } from './materialize.js';
import { DISTRIBUTIONS } from './recipe.js';

const draft: Case = {
  schema: CASE_SCHEMA,
  problem: { tokens: [1, 130], queryHeads: 6, kvHeads: 2, headSize: 128 },
  scheme: { format: 'bitdecoding', kAxis: 'channel', bits: 2, group: 64 },
  tensors: {
    q: { distribution: 'normal', seed: 1, scale: 0, offset: 0 },
    k: { distribution: 'outlier-channels', seed: 1, scale: -3, offset: 5 },
    v: { distribution: 'grid', seed: 1, scale: 2, offset: -7 },
  },
  options: { softmaxScale: Math.fround(1 / Math.sqrt(128)), splits: 0 },
};

describe('the hash', () => {
  it.each([
    // Test vectors of the reference implementation (Noll, test_fnv.c).
    ['', 'cbf29ce484222325'],
    ['a', 'af63dc4c8601ec8c'],
    ['b', 'af63df4c8601f1a5'],
    ['foobar', '85944171f73967e8'],
  ])('of %j is %s', (text, expected) => {
    expect(fnv1a64(text)).toBe(expected);
  });

  it('equals the definition in whole numbers on long texts', () => {
    const text = canonicalJson(draft).repeat(7);
    let h = 0xcbf29ce484222325n;
    for (const letter of text) {
      h = ((h ^ BigInt(letter.charCodeAt(0))) * 0x100000001b3n) & 0xffffffffffffffffn;
    }
    expect(fnv1a64(text)).toBe(h.toString(16).padStart(16, '0'));
  });
});

describe('no regression', () => {
  it('canonical JSON and name of a case', () => {
    expect(canonicalJson(draft).match(/.{1,80}/g)).toMatchInlineSnapshot(`
      [
        "{"options":{"softmaxScale":0.0883883461356163,"splits":0},"problem":{"headSize":",
        "128,"kvHeads":2,"queryHeads":6,"tokens":[1,130]},"schema":"kvproof.case/1","sche",
        "me":{"bits":2,"format":"bitdecoding","group":64,"kAxis":"channel"},"tensors":{"k",
        "":{"distribution":"outlier-channels","offset":5,"scale":-3,"seed":1},"q":{"distr",
        "ibution":"normal","offset":0,"scale":0,"seed":1},"v":{"distribution":"grid","off",
        "set":-7,"scale":2,"seed":1}}}",
      ]
    `);
    expect(caseHash(draft)).toMatchInlineSnapshot(`"040fafcceea7ac56"`);
  });

  it('words of the generator', () => {
    const key = keyOf(1, 2);
    const other = derive(derive(key, 0), 4095);
    const words = [0, 1, 2, 4294967295].flatMap((i) => [word(key, i), word(other, i)]);
    expect(words).toMatchInlineSnapshot(`
      [
        653232910,
        1329132219,
        3962709670,
        638065698,
        2024314023,
        2718966073,
        986753585,
        3679495155,
      ]
    `);
    expect([uniform(key, 7), normal(key, 7), below(key, 7, 1000)]).toMatchInlineSnapshot(`
      [
        -0.14857897348701954,
        -1.686365198086529,
        425,
      ]
    `);
    expect(word(keyOf(4294967295, 3), 0)).toMatchInlineSnapshot(`594341479`);
  });

  it('tensors of every distribution', () => {
    const names = DISTRIBUTIONS.map((distribution) => {
      const recipe = { distribution, seed: 20261124, scale: -1, offset: 1 };
      const made = materialize(
        { ...draft, tensors: { q: recipe, k: recipe, v: recipe } },
        noSource,
      );
      if (made.kind === 'error') return made.message;
      const { q, k, v } = made.inputs;
      return `${distribution} ${[q, k, v].map((x) => fnv1a64(x.join(','))).join(' ')}`;
    });
    expect(names).toMatchInlineSnapshot(`
      [
        "zero 1a6a9e589b172beb 6b83561774904beb 6b83561774904beb",
        "constant 6b10194adc347feb 3e83510b5dfdf5eb 3e83510b5dfdf5eb",
        "alternating 0319729a7a9401eb b466c3860c254eeb b466c3860c254eeb",
        "ramp-head 5aca042365852beb c8c1bcabc0a1c5eb c8c1bcabc0a1c5eb",
        "ramp-channel db416323bb54351b 787d6282c996f783 787d6282c996f783",
        "ramp-token 23497d62e223bbeb c744d338fdadf9eb c744d338fdadf9eb",
        "graded 4c8310659ac1f0eb 6f7006b80f5b25eb 6f7006b80f5b25eb",
        "repeated-token db75072f9073d973 c961a3cd603f4565 207434167291ede4",
        "uniform 5e21c648c5ac67e5 0c15c4e8f5170c4f 6088c9aa7181de7d",
        "normal 1d6f0d1d6ef9ae46 cb3109f0ccc32595 2e4d4f318d40c649",
        "counter-graded 4b7fc05db75b9a6c bb3b11d0036e91d9 d35a4e03523d06ad",
        "paired-records 1d6f0d1d6ef9ae46 865e8a2fdda9afbc 5f54e7944cd05cbd",
        "opposite-records 64f693aa070a86ba 0aa15b3e8354b657 223023520549bda2",
        "grid 302795e046974427 46630b1f1dc5024b 417d6bba6f91ed40",
        "ties 6bec4bdefb384bf0 f91cff4c1915a60e d464f53dcaf22938",
        "uneven-ties d873ff0929dc5034 84c895ba2a2cf111 7642a2a7dc91e368",
        "subnormal 23497d62e223bbeb 475564418a0293eb 475564418a0293eb",
        "near-overflow 5f37a1e715e31d23 bcbbebdb4314f196 c64bd8cdc4f84737",
        "heavy-tail 42eb92d3c9eb2f7e 30f6987bfcd0712b 50f3848d95461ba4",
        "all-exponents 1ca0395edb72f60b a6e183cd8f083f34 5d45e5f22e4c72d9",
        "signed-zero 23497d62e223bbeb 475564418a0293eb 475564418a0293eb",
        "outlier-channels 2c451dfe6d0db7e6 1c47dc9a1f509e48 9b88b450e1d6ef6b",
        "sink fc83d61682478493 efc3df25cf7723c6 f7941743ac5f9d3e",
        "needle fc83d61682478493 9b98fdc882de03e6 f3108f142ae9dc7b",
        "huge-token 868e9d10df5c0bf5 ea295a2f7e02d05f caf6e40c4cfa7b37",
        "outlier-group f8c931d559a15e43 cff974477cbd7450 c40cd38cc842fe2d",
        "extremes 0373a4ec78361da7 aec5a07e0079c14c 0031e2e935d9d963",
        "patchwork 06c0e1c8df82fa3b 5d1070ed39c6fd5f 002fa64ac1940f26",
        "one-sided cbde7b1dc0c15a91 0d7dc675f7f145f4 ee3a74e59eac1dc2",
        "binades 64d98a4748b9744e 29f780b5fe798076 88db474809fa17a9",
        "non-finite 1d6f0d1d6ef9ae46 9c9d720806f054e9 ac06b80ba0fcc1d6",
        "non-finite-groups 1d6f0d1d6ef9ae46 55c9dd3a9bfbca09 7ac0d27ec874264e",
        "non-finite-last 89977cb2efa5b95c 300c03cb73b90b78 890638c1aedf50b7",
      ]
    `);
  });
});
