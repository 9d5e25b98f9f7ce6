import { startEmbeddedPostgres } from "../../src/db/embedded-postgres.ts";

/** Stands for a Handoff that uses a data folder: `ready {…}` once it has it, `refused {…}` when it is refused; SIGINT stops it. */
const [dataDirectory = "", settings = "{}"] = process.argv.slice(2);
const write = (word: string, value: object): boolean => process.stdout.write(`${word} ${JSON.stringify(value)}\n`);

try {
  const server = await startEmbeddedPostgres({
    dataDirectory,
    settings: JSON.parse(settings),
    log: (message) => void write("log", { message }),
  });
  process.once("SIGINT", () => {
    server.stop().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  });
  const { databaseUrl, pid, port, adopted } = server;
  write("ready", { databaseUrl, pid, port, adopted });
} catch (error) {
  const refusal =
    error instanceof Error && "code" in error
      ? { code: error.code, message: error.message }
      : { code: "thrown", message: String(error) };
  write("refused", refusal);
}
