import { sql } from "kysely";
import { newId } from "../../src/db/id.ts";
import type { TestApi, TestClient } from "./api.ts";
import { addCampaign } from "./api-documents.ts";

/** Two organisations of one installation that are connected. */

/** Adds a campaign with the fields of a workflow of one stage; gives the stage's id. */
export async function addStage(server: TestApi, client: TestClient, fields?: readonly object[]): Promise<string> {
  const { id: campaignId } = await addCampaign(client, [], fields === undefined ? {} : { fields });
  const { organisationId } = client;
  const [ownerId, workflowId, stageId] = [newId(), newId(), newId()];
  await sql`insert into users (id, organisation_id, email, name, role, created_at, updated_at)
    values (${ownerId}, ${organisationId}, ${`${ownerId}@example.com`}, 'Olive Owner', 'viewer', now(), now())`.execute(
    server.owner,
  );
  await sql`insert into workflows (id, organisation_id, name, campaign_id, owner_id, alert_sms, created_at, updated_at)
    values (${workflowId}, ${organisationId}, 'Referred', ${campaignId}, ${ownerId}, false, now(), now())`.execute(
    server.owner,
  );
  await sql`insert into stages (id, organisation_id, workflow_id, name, position)
    values (${stageId}, ${organisationId}, ${workflowId}, 'New', 1)`.execute(server.owner);
  return stageId;
}

export async function portalCodeOf(client: TestClient): Promise<string> {
  return (await client.call("GET", "/v1/organisation")).text("portalCode");
}

/** Asks for a connection; gives its id. */
export async function ask(
  sender: TestClient,
  receiver: TestClient,
  permissions: readonly string[] = [],
): Promise<string> {
  const portalCode = await portalCodeOf(receiver);
  return (await sender.call("POST", "/v1/connections/outgoing", { portalCode, permissions })).text("id");
}

/** Approves what is asked for now. */
export async function approve(receiver: TestClient, id: string, stageId: string, reportsStatus = false) {
  const version = (await receiver.call("GET", `/v1/connections/incoming/${id}`)).value("version");
  return receiver.call("POST", `/v1/connections/incoming/${id}/approve`, { version, stageId, reportsStatus });
}
