import type { Channel, ChannelName } from "./contract.ts";
import { emailChannel } from "./email.ts";
import { jsonChannel } from "./json.ts";
import { postChannel } from "./post.ts";
import type { EmailSettings, InternetSettings } from "./settings.ts";
import { soap11Channel, soap12Channel } from "./soap.ts";
import { xmlChannel } from "./xml.ts";

export type ChannelSettings = InternetSettings | EmailSettings;

/**
 * Every way to reach a partner. A channel is given settings that its own schema made: for one over HTTP, `method` is
 * its name.
 */
export const channels: Readonly<Record<ChannelName, Channel<ChannelSettings>>> = {
  email: emailChannel,
  json: jsonChannel,
  xml: xmlChannel,
  soap11: soap11Channel,
  soap12: soap12Channel,
  post: postChannel,
};

export function channelFor(settings: ChannelSettings): Channel<ChannelSettings> {
  return channels["method" in settings ? settings.method : "email"];
}
