import type { Channel, ChannelName } from "./contract.ts";
import { emailChannel } from "./email.ts";
import { jsonChannel } from "./json.ts";
import { postChannel } from "./post.ts";
import type { EmailSettings, InternetSettings } from "./settings.ts";
import { soap11Channel, soap12Channel } from "./soap.ts";
import { withinRenderBudget } from "./templates.ts";
import { xmlChannel } from "./xml.ts";

export type ChannelSettings = InternetSettings | EmailSettings;

/**
 * Every way to reach a partner. A channel is given settings that its own schema made: for one over HTTP, `method` is
 * its name.
 */
export const channels: Readonly<Record<ChannelName, Channel<ChannelSettings>>> = {
  email: bounded(emailChannel),
  json: bounded(jsonChannel),
  xml: bounded(xmlChannel),
  soap11: bounded(soap11Channel),
  soap12: bounded(soap12Channel),
  post: bounded(postChannel),
};

/** One lead's request has this long, of however many templates it is made. */
const renderBudgetMs = 500;

function bounded<Settings>(channel: Channel<Settings>): Channel<Settings> {
  return {
    ...channel,
    render: (variables, settings) => withinRenderBudget(renderBudgetMs, () => channel.render(variables, settings)),
  };
}

export function channelFor(settings: ChannelSettings): Channel<ChannelSettings> {
  return channels["method" in settings ? settings.method : "email"];
}
