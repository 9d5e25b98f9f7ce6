import type { AddressInfo } from "node:net";
import { buildApp } from "./app.ts";
import type { Context } from "./context.ts";

export interface Server {
  readonly port: number;
  /** Stops accepting, and answers what is under way. */
  close(): Promise<void>;
}

/** Starts the API on the configured host and port (0: any free one). */
export async function startServer(context: Context): Promise<Server> {
  const app = await buildApp(context);
  await app.listen({ host: context.config.host, port: context.config.port });
  const { port } = app.server.address() as AddressInfo;
  return { port, close: async () => app.close() };
}
