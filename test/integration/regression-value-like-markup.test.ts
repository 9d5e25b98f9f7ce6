import { expect, test } from "@jest/globals";
import { channelFor } from "../../src/channels/registry.ts";
import { sampleVariables } from "../../src/channels/sample-variables.ts";
import { internetSettingsSchema } from "../../src/channels/settings.ts";

/**
 * `npm run hostile` sent a lead whose name is `<!DOCTYPE x>` to a partner whose template prints it into a CDATA section,
 * where it needs no escaping. The body was taken for one with a DOCTYPE, which is the template's fault: the lead was not
 * sent, and the partner's endpoint paused. Only what is markup is looked at.
 */
test("a value that looks like a DOCTYPE stays text in CDATA; a DOCTYPE behind a comment is one", () => {
  const [lead] = sampleVariables([{ key: "first_name", type: "text" }]);
  const render = (body: string, firstName: string) => {
    const settings = internetSettingsSchema.parse({ method: "xml", url: "https://partner.example/leads", body });
    return channelFor(settings).render({ ...lead, lead: { ...lead.lead, first_name: firstName } }, settings);
  };
  expect(render("<lead><![CDATA[{{ lead.first_name }}]]></lead>", "<!DOCTYPE x>")).toMatchObject({
    ok: true,
    request: { body: "<lead><![CDATA[<!DOCTYPE x>]]></lead>" },
  });
  expect(render("<!-- <![CDATA[ --><!DOCTYPE x><!-- ]]> --><x/>", "Ann")).toMatchObject({
    ok: false,
    reason: "the body must not have a DOCTYPE",
  });
});
