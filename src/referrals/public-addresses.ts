import type { Config } from "../config.ts";

/** Where others refer leads to. */
export function referralUrlOf(config: Config, inboundId: string): string {
  return `${baseOf(config)}/v1/referrals/inbound/${inboundId}`;
}

/** Where the form of an inbound stands. */
export function formUrlOf(config: Config, formToken: string): string {
  return `${baseOf(config)}/v1/forms/${formToken}`;
}

function baseOf({ publicUrl }: Config): string {
  return publicUrl.replace(/\/+$/, "");
}
