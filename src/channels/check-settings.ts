import type { SettingsProblem, TemplateVariables } from "./contract.ts";
import { type ChannelSettings, channelFor } from "./registry.ts";
import type { EmailSettings, InternetSettings } from "./settings.ts";
import { type PlaceName, renderTemplate, unknownVariables } from "./templates.ts";
import type { TrialTime } from "./trial-time.ts";
import { strictXmlProblem } from "./xml-problem.ts";

interface NamedTemplate {
  readonly field: string;
  readonly source: string;
  readonly place: PlaceName;
}

/**
 * What would go wrong with these settings when a lead is sent: an unknown variable or filter, a value where none may
 * stand, a body that does not come out well-formed. `samples` are leads as `sampleVariables` makes them up. Each field
 * is named once, with its first problem; no problem means that every lead with these fields can be rendered. What does not
 * come out within `time` is a problem too.
 */
export function checkInternetSettings(
  settings: InternetSettings,
  samples: readonly TemplateVariables[],
  time: TrialTime,
): Promise<readonly SettingsProblem[]> {
  const headers = Object.entries(settings.headers).map(([name, source]) => line(`headers.${name}`, source));
  return check(
    settings,
    [{ field: "url", source: settings.url, place: "url" }, ...headers, ...content(settings)],
    samples,
    time,
  );
}

/** The same for the settings of email. */
export function checkEmailSettings(
  settings: EmailSettings,
  samples: readonly TemplateVariables[],
  time: TrialTime,
): Promise<readonly SettingsProblem[]> {
  const { subject, template } = settings;
  const templates = Object.entries(settings.headers).map(([name, source]) => line(`headers.${name}`, source));
  if (subject !== undefined) templates.push(line("subject", subject));
  if (template?.subject !== undefined) templates.push(line("template.subject", template.subject));
  if (template !== null) templates.push({ field: "template.text", source: template.text, place: "text" });
  if (template !== null && template.html !== null)
    templates.push({ field: "template.html", source: template.html, place: "html" });
  return check(settings, templates, samples, time);
}

function line(field: string, source: string): NamedTemplate {
  return { field, source, place: "line" };
}

const bodyPlaces = { json: "json", xml: "xml", soap11: "xml", soap12: "xml", post: "form" } as const;

function content(settings: InternetSettings): readonly NamedTemplate[] {
  if (settings.body !== undefined)
    return [{ field: "body", source: settings.body, place: bodyPlaces[settings.method] }];
  const fields = settings.method === "post" ? (settings.fields ?? []) : [];
  return fields.map(([, source], index) => ({ field: `fields.${index}.1`, source, place: "text" }));
}

const tooSlow = "the templates take too long";

async function check(
  settings: ChannelSettings,
  templates: readonly NamedTemplate[],
  samples: readonly TemplateVariables[],
  time: TrialTime,
): Promise<readonly SettingsProblem[]> {
  const problems = new Map<string, SettingsProblem>();
  const add = (field: string, message: string) => {
    if (!problems.has(field)) problems.set(field, { field, message });
  };
  for (const { field, source, place } of templates) {
    const message = await time.spend(() => templateProblem(source, place, samples));
    if (message !== null) add(field, message);
    if (time.isOver()) {
      add(field, tooSlow);
      return [...problems.values()];
    }
  }
  for (const sample of samples) {
    const problem = await time.spend(() => requestProblem(settings, sample));
    if (problem !== null) add(problem.field, problem.message);
    if (time.isOver()) {
      add("body", tooSlow);
      break;
    }
  }
  return [...problems.values()];
}

function templateProblem(source: string, place: PlaceName, samples: readonly TemplateVariables[]): string | null {
  for (const sample of samples) {
    const [unknown] = unknownVariables(source, sample);
    if (unknown !== undefined) return `there is no variable ${unknown}; ${known(sample)}`;
    const rendered = renderTemplate(source, place, sample);
    if (!rendered.ok) return rendered.reason;
  }
  return null;
}

const mostNamed = 40;

function known({ lead }: TemplateVariables): string {
  const keys = Object.keys(lead);
  const more = keys.length > mostNamed ? `, and ${keys.length - mostNamed} more` : "";
  return `a lead has ${keys.slice(0, mostNamed).join(", ")}${more}`;
}

function requestProblem(settings: ChannelSettings, sample: TemplateVariables): SettingsProblem | null {
  const rendered = channelFor(settings).render(sample, settings);
  if (!rendered.ok) return { field: rendered.field, message: rendered.reason };
  if (rendered.request.kind !== "http" || !("method" in settings)) return null;
  if (bodyPlaces[settings.method] !== "xml") return null;
  const problem = strictXmlProblem(rendered.request.body);
  return problem === null ? null : { field: "body", message: problem };
}
