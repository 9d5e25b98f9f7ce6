import { chmod, mkdtemp, realpath, statfs } from "node:fs/promises";
import { freemem, tmpdir } from "node:os";
import path from "node:path";
import { reapFolder } from "./reaper.ts";

const memoryFolder = "/dev/shm";
const roomNeededBytes = 4 * 2 ** 30;

/**
 * An empty folder that is removed with this process if not before. It lies in memory where there is plenty: copying
 * databases there takes a tenth of the time. Everybody may enter it: where root runs the tests, PostgreSQL is somebody else.
 */
export async function makeTemporaryFolder(): Promise<string> {
  const parent = (await hasRoom()) ? memoryFolder : tmpdir();
  const folder = await realpath(await mkdtemp(path.join(parent, "handoff-test-")));
  await chmod(folder, 0o755);
  reapFolder(folder);
  return folder;
}

async function hasRoom(): Promise<boolean> {
  try {
    const { bavail, bsize } = await statfs(memoryFolder);
    return Math.min(bavail * bsize, freemem()) > roomNeededBytes;
  } catch {
    return false;
  }
}
