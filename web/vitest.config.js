// A busy machine is no failure: tests have time.
export default { test: { include: ["test/*.test.ts"], testTimeout: 180_000 } };
