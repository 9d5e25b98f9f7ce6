import { z } from "zod";

const run = z.object({ stopTestServers: z.custom<() => Promise<void>>((value) => typeof value === "function") });

/** Jest calls this once, after the last test, failed or not. */
export default async function stopServers(): Promise<void> {
  await run.parse(globalThis).stopTestServers();
}
