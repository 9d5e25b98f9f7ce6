import { existsSync } from "node:fs";
import type { Config } from "../config.ts";
import type { Context } from "../context.ts";
import { explainLead } from "../leads/explain-lead.ts";
import { importLeads } from "../leads/import-leads.ts";
import { type IntakeCampaign, readIntakeCampaign } from "../leads/intake-campaign.ts";
import { receiveLead } from "../leads/receive-lead.ts";
import { createProgress } from "../progress.ts";
import { type CommandOptions, type CommandResult, done, failed, withInstallation } from "./with-installation.ts";

export interface LeadOptions extends CommandOptions {
  readonly campaign?: string | undefined;
  readonly field?: readonly string[] | undefined;
}

type Print = (line: string) => void;

/** `handoff import FILE --campaign ID`: takes in a CSV file, with a progress bar, and tells each bad row. */
export async function importCommand(
  config: Config,
  file: string | undefined,
  options: LeadOptions,
  print: Print,
): Promise<CommandResult> {
  if (file === undefined) return failed("Say which file: handoff import FILE --campaign ID");
  if (!existsSync(file)) return failed(`There is no file ${file}.`);
  return withCampaign(config, options, async (context, campaign) => {
    const progress = createProgress("Importing", print);
    const report = await importLeads(context, campaign, file, ({ rows }) => progress.to(rows));
    progress.end(report.rows);
    print(`${report.received} leads taken in, ${report.duplicates} duplicates, ${report.bad.length} bad rows.`);
    for (const { line, reason } of report.bad) print(`  line ${line}: ${reason}`);
    return done;
  });
}

/** `handoff lead send --campaign ID --field K=V`: takes in one lead. */
export async function sendLeadCommand(config: Config, options: LeadOptions, print: Print): Promise<CommandResult> {
  const raw = readFields(options.field);
  if (raw === null) return failed("Give each field as --field name=value.");
  return withCampaign(config, options, async (context, campaign) => {
    const entrance = { campaign, intakeKeyId: null, introducerId: null };
    const intake = await receiveLead(context, entrance, { raw, idempotencyKey: null, source: "command line" });
    if (intake.kind === "refused") return failed(`The campaign refuses it: ${intake.reason}.`);
    const { answer } = intake;
    print(`Lead ${answer.leadId}: ${answer.status}`);
    if (answer.status === "duplicate") print(`It is a duplicate of ${answer.duplicateOf}.`);
    if (answer.status !== "invalid") return done;
    return failed(answer.fields.map(({ field, message }) => `  ${field} ${message}`).join("\n"));
  });
}

/** `handoff explain --campaign ID --field K=V`: who would get such a lead now, and every reason against the others. */
export async function explainCommand(config: Config, options: LeadOptions, print: Print): Promise<CommandResult> {
  const raw = readFields(options.field);
  if (raw === null) return failed("Give each field as --field name=value.");
  return withCampaign(config, options, async (context, campaign) => {
    const explanation = await explainLead(context, campaign.organisationId, campaign.id, raw);
    if (explanation === null) return failed("The campaign is gone.");
    print(`The lead is ${explanation.status}.`);
    for (const { field, message } of explanation.fields) print(`  ${field} ${message}`);
    for (const partner of explanation.partners) {
      print(`${partner.name}: ${partner.result.replace("_", " ")}`);
      for (const reason of partner.reasons) print(`  ${reason.text}`);
    }
    return done;
  });
}

async function withCampaign(
  config: Config,
  options: LeadOptions,
  work: (context: Context, campaign: IntakeCampaign) => Promise<CommandResult>,
): Promise<CommandResult> {
  return withInstallation(config, options, async (context, organisationId) => {
    const isId = /^[0-9a-f-]{36}$/.test(options.campaign ?? "");
    const campaign = isId ? await readIntakeCampaign(context, organisationId, options.campaign ?? "") : null;
    if (campaign === null) return failed("Say which campaign with --campaign ID; GET /v1/campaigns lists them.");
    return work(context, campaign);
  });
}

/** null where one is not name=value. */
function readFields(words: readonly string[] | undefined): Record<string, string> | null {
  const pairs = (words ?? []).map(
    (word) => [word.slice(0, word.indexOf("=")), word.slice(word.indexOf("=") + 1)] as const,
  );
  if ((words ?? []).some((word) => !word.includes("="))) return null;
  return Object.fromEntries(pairs);
}
