import { sendDueAlerts } from "../../src/alerts/send-due-alerts.ts";
import { readConfig } from "../../src/config.ts";
import { openContext } from "../../src/context.ts";

/** A process that sends the due alerts of the organisation named in its arguments, on the database of DATABASE_URL. */
const [organisationId = "", databaseUrl = ""] = process.argv.slice(2);
const read = readConfig(process.env);
if (!read.ok) throw new Error(read.problems.join("; "));
const context = openContext({ config: read.config, databaseUrl, secret: "a secret of the tests, 32 characters long" });
await sendDueAlerts(context, organisationId);
