import { isIP } from "node:net";
import { z } from "zod";

/**
 * Everything Handoff takes from its environment, read once at start. A bad value is named, with what is allowed.
 * docs/operations.md describes each for operators.
 */

const integer = (minimum: number, maximum: number) =>
  z
    .string()
    .regex(/^\d+$/, "must be a whole number")
    .transform(Number)
    .pipe(z.number().min(minimum, `must be at least ${minimum}`).max(maximum, `must be at most ${maximum}`));

const flag = z.enum(["0", "1"], "must be 0 or 1").transform((text) => text === "1");

const addressOf = (...protocols: string[]) =>
  z.string().refine((text) => URL.canParse(text) && protocols.includes(new URL(text).protocol), {
    message: `must be an address that starts with ${protocols.map((protocol) => `${protocol}//`).join(" or ")}`,
  });

const hostList = z.string().transform((text, context) => {
  const entries = text.split(",").map((entry) => entry.trim());
  for (const entry of entries.filter((entry) => entry !== "" && !/^(\[[0-9a-f:.]+\]|[^:\s]+):\d{1,5}$/i.test(entry))) {
    context.addIssue({
      code: "custom",
      message: `must be a list of host:port, separated by commas; ${entry} is not one`,
    });
  }
  return entries.filter((entry) => entry !== "");
});

const networkList = z.string().transform((text, context) => {
  const entries = text
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
  for (const entry of entries.filter((entry) => !isNetwork(entry))) {
    const message = `must be a list of IP addresses or networks such as 10.0.0.0/8, separated by commas; ${entry} is not one`;
    context.addIssue({ code: "custom", message });
  }
  return entries;
});

function isNetwork(entry: string): boolean {
  const [, address = "", length] = /^([0-9a-f:.]+)(?:\/(\d{1,3}))?$/i.exec(entry) ?? [];
  return isIP(address) !== 0 && Number(length ?? 0) <= (isIP(address) === 4 ? 32 : 128);
}

const environmentSchema = z
  .object({
    NODE_ENV: z.string().optional(),
    PORT: integer(0, 65_535).default(3000),
    HOST: z.string().default("0.0.0.0"),
    PUBLIC_URL: addressOf("http:", "https:").optional(),
    DATA_DIR: z.string().min(1).default("data"),
    DATABASE_URL: addressOf("postgres:", "postgresql:").optional(),
    REDIS_URL: addressOf("redis:", "rediss:").optional(),
    QUEUE_PREFIX: z
      .string()
      .regex(/^[a-z][a-z0-9_-]{0,30}$/, "must be lower-case letters, digits, - and _")
      .default("handoff"),
    DEMO: flag.default(true),
    HANDOFF_API_KEY: z.string().min(20, "must have at least 20 characters").optional(),
    HANDOFF_SECRET: z.string().min(32, "must have at least 32 characters").optional(),
    HANDOFF_ALLOW_HOSTS: hostList.default([]),
    WORKER_CONCURRENCY: integer(1, 1000).default(50),
    DATABASE_POOL_SIZE: integer(2, 200).default(20),
    INTAKE_RATE_PER_MINUTE: integer(0, 1_000_000).default(6000),
    WRONG_KEYS_PER_MINUTE: integer(0, 1_000_000).default(60),
    SESSION_IDLE_HOURS: integer(1, 720).default(12),
    SESSION_DAYS: integer(1, 365).default(30),
    TRUSTED_PROXIES: networkList.default([]),
    LOG_LEVEL: z.enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"]).default("info"),
    SMTP_HOST: z.string().min(1).optional(),
    SMTP_PORT: integer(1, 65_535).default(587),
    SMTP_SECURE: flag.default(false),
    SMTP_USERNAME: z.string().optional(),
    SMTP_PASSWORD: z.string().optional(),
    SMTP_FROM: z.string().min(3).default("Handoff <handoff@localhost>"),
    TWILIO_ACCOUNT_SID: z.string().startsWith("AC", "must begin with AC").optional(),
    TWILIO_AUTH_TOKEN: z.string().min(1).optional(),
    TWILIO_FROM: z.string().min(1).optional(),
    TWILIO_CALLER: z
      .string()
      .regex(/^\+[1-9]\d{6,14}$/, "must be a telephone number such as +442079460000")
      .optional(),
    TWILIO_BASE_URL: addressOf("http:", "https:").optional(),
    PAYPAL_BASE_URL: addressOf("http:", "https:").optional(),
  })
  .superRefine((values, context) => {
    const twilio = ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM"] as const;
    if ([...twilio, "TWILIO_CALLER" as const].every((name) => values[name] === undefined)) return;
    for (const name of twilio.filter((one) => values[one] === undefined)) {
      context.addIssue({ code: "custom", path: [name], message: "is needed where another TWILIO_ setting is given" });
    }
  });

export type Config = ReturnType<typeof toConfig>;

export type ConfigResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly problems: readonly string[] };

/** Takes an environment (empty text counts as absent). Gives the settings, or every bad one with its name and what is allowed. */
export function readConfig(environment: Readonly<Record<string, string | undefined>>): ConfigResult {
  const given = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ""),
  );
  const parsed = environmentSchema.safeParse(given);
  if (parsed.success) return { ok: true, config: toConfig(parsed.data) };
  const problems = parsed.error.issues.map((issue) => {
    const name = String(issue.path[0]);
    const shown = /SECRET|PASSWORD|TOKEN|KEY|_URL/.test(name) ? "the given value" : JSON.stringify(given[name] ?? "");
    return `${name}: ${issue.message}${given[name] === undefined ? "" : ` (was ${shown})`}`;
  });
  return { ok: false, problems };
}

function toConfig(values: z.infer<typeof environmentSchema>) {
  return {
    port: values.PORT,
    host: values.HOST,
    publicUrl: values.PUBLIC_URL ?? `http://localhost:${values.PORT}`,
    dataDirectory: values.DATA_DIR,
    databaseUrl: values.DATABASE_URL,
    redisUrl: values.REDIS_URL,
    queuePrefix: values.QUEUE_PREFIX,
    demo: values.DEMO,
    apiKey: values.HANDOFF_API_KEY,
    secret: values.HANDOFF_SECRET,
    allowHosts: values.HANDOFF_ALLOW_HOSTS,
    workerConcurrency: values.WORKER_CONCURRENCY,
    databasePoolSize: values.DATABASE_POOL_SIZE,
    intakeRatePerMinute: values.INTAKE_RATE_PER_MINUTE,
    wrongKeysPerMinute: values.WRONG_KEYS_PER_MINUTE,
    sessionIdleHours: values.SESSION_IDLE_HOURS,
    sessionDays: values.SESSION_DAYS,
    trustedProxies: values.TRUSTED_PROXIES,
    logLevel: values.LOG_LEVEL,
    smtp:
      values.SMTP_HOST === undefined
        ? null
        : {
            host: values.SMTP_HOST,
            port: values.SMTP_PORT,
            secure: values.SMTP_SECURE,
            username: values.SMTP_USERNAME ?? null,
            password: values.SMTP_PASSWORD ?? null,
            from: values.SMTP_FROM,
          },
    twilio:
      values.TWILIO_ACCOUNT_SID === undefined ||
      values.TWILIO_AUTH_TOKEN === undefined ||
      values.TWILIO_FROM === undefined
        ? null
        : {
            accountSid: values.TWILIO_ACCOUNT_SID,
            authToken: values.TWILIO_AUTH_TOKEN,
            from: values.TWILIO_FROM,
            callerNumber: values.TWILIO_CALLER ?? null,
            baseUrl: values.TWILIO_BASE_URL,
          },
    payPalBaseUrl: values.PAYPAL_BASE_URL,
  };
}
