import { forgetTokens } from "./oauth2-token.ts";
import { closeConnections } from "./outbound.ts";
import { closeMailPools } from "./send-mail.ts";

/** Ends every connection to partners, token servers and mail servers. For shutdown, when nothing is under way any more. */
export async function closeOutbound(): Promise<void> {
  forgetTokens();
  closeMailPools();
  await closeConnections();
}
