/** Says in the last line of a run what it did not cover. */
export default class SkippedReporter {
  onRunComplete(_contexts, results) {
    const skipped = results.testResults
      .flatMap((file) => file.testResults)
      .filter((test) => test.status === "pending" || test.status === "todo")
      .map((test) => test.fullName);
    if (!process.env.HANDOFF_TEST_REDIS_URL) {
      skipped.unshift("everything on Redis (no redis-server in PATH and no REDIS_URL)");
    }
    if (skipped.length > 0) {
      // Jest's own summary comes after its reporters.
      process.once("exit", () => process.stderr.write(`skipped: ${skipped.join("; ")}\n`));
    }
  }
}
