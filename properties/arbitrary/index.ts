// kvproof/arbitrary: fast-check arbitraries of cases, for suites of one's own. caseArbitrary draws
// what a kernel declares it can run; anyCase shrinks any stored case.
export { anyCase, type CaseSpace, caseArbitrary, defaultSpace } from './case.js';
export { type ProblemSpace, problemArbitrary } from './problem.js';
export { type RecipeSpace, recipeArbitrary } from './recipe.js';
