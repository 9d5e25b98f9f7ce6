// A thread that asks each API every 200 ms whether it is alive, and says how that went when it is asked to.
import { get } from "node:http";
import { parentPort, workerData } from "node:worker_threads";

const limitMs = 10_000;
const failures = [];
let longestMs = 0;
let longestDuring = "";
let during = "";

parentPort.on("message", (message) => {
  if (message === "read") {
    parentPort.postMessage({ failures, longestMs, longestDuring });
  } else {
    during = message.during;
  }
});

for (const base of workerData) {
  ask(base);
}

function ask(base) {
  const startedMs = performance.now();
  const asked = during;
  const request = get(`${base}/healthz`, { timeout: limitMs, agent: false }, (answer) => {
    answer.resume();
    if (answer.statusCode !== 200) {
      failures.push(`/healthz answered ${answer.statusCode} during ${asked}`);
    }
    answer.once("close", () => {
      const tookMs = performance.now() - startedMs;
      if (tookMs > longestMs) {
        longestMs = tookMs;
        longestDuring = asked;
      }
      setTimeout(ask, 200, base);
    });
  });
  request.once("timeout", () => request.destroy(new Error(`no answer within ${limitMs} ms`)));
  request.once("error", (error) => {
    failures.push(`/healthz: ${error.message}, during ${asked}`);
    setTimeout(ask, 200, base);
  });
}
