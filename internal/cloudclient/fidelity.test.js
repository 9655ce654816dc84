// A public client of the Cloud API talks to the pretend Meta with nothing
// changed but its base URL: every kind of message it can build is accepted and
// its answer understood, errors are what the client takes for Meta's, and the
// webhooks pass the client's own check and parser. Then the same client talks to
// sendlog itself as if that were Meta.
//
// SENDLOG names the binary; `make fidelity` builds it and starts this.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";
import { after, before, test } from "node:test";

import { GraphApiError, WhatsAppClient } from "@kapso/whatsapp-cloud-api";
import { normalizeWebhook, verifySignature } from "@kapso/whatsapp-cloud-api/server";

const appSecret = "the secret of the app";
const phoneNumberId = "106540352242922";
const to = "+16505551234";
const person = "US.13491208655302741918";
const wamid = "wamid.HBgLMTY1MDU1NTEyMzQVAgASGBQzQTdGN0VGOUM5QTg4RkQwQTlDNAA=";

const processes = [];
const webhooks = [];
let app;

before(async () => {
  app = http.createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      webhooks.push({ body: Buffer.concat(parts), signature: request.headers["x-hub-signature-256"] });
      response.end();
      app.emit("webhook");
    });
  });
  app.listen(0, "127.0.0.1");
  await once(app, "listening");
});

after(async () => {
  app.close();
  app.closeAllConnections();
  for (const child of processes.reverse()) { // a Meta outlives those who call it
    child.kill("SIGINT");
    const [code] = await once(child, "exit");
    assert.equal(code, 0, "sendlog ends well");
  }
});

// sendlog starts a process and returns the address it says under a name.
async function sendlog(name, args, env = {}) {
  const child = spawn(process.env.SENDLOG, args, { env: { APP_SECRET: appSecret, ...env }, cwd: os.tmpdir(), stdio: ["ignore", "pipe", "ignore"] });
  processes.push(child);
  for await (const line of readline.createInterface({ input: child.stdout })) {
    const [word, address] = line.trim().split(/ +/);
    if (word === name) {
      child.stdout.resume();
      return address;
    }
  }
  throw new Error(`sendlog ${args.join(" ")} did not start`);
}

// pretendMeta starts one and returns what makes a client whose base URL it is.
async function pretendMeta(...flags) {
  const baseUrl = await sendlog("listens", ["mock-graph", "--addr", "127.0.0.1:0", "--status-delay", "0", "--token", "EAAtoken", ...flags]);
  return (accessToken = "EAAtoken") => new WhatsAppClient({ accessToken, baseUrl });
}

// failure returns the error of a call that must fail as Meta's calls do.
async function failure(call) {
  const [result] = await Promise.allSettled([call]);
  assert.equal(result.status, "rejected");
  assert.ok(result.reason instanceof GraphApiError, String(result.reason));
  return result.reason;
}

test("every kind of message the client builds is accepted, and its answer understood", async (t) => {
  const { messages } = (await pretendMeta())();
  const body = { phoneNumberId, to };
  const sends = {
    text: () => messages.sendText({ ...body, body: "Grüße / 😀", previewUrl: true }),
    reply: () => messages.sendText({ ...body, body: "yes", contextMessageId: wamid }),
    image: () => messages.sendImage({ ...body, image: { link: "https://x.example/a.png", caption: "c" } }),
    video: () => messages.sendVideo({ ...body, video: { id: "1" } }),
    audio: () => messages.sendAudio({ ...body, audio: { id: "1" } }),
    document: () => messages.sendDocument({ ...body, document: { link: "https://x.example/a.pdf", filename: "a.pdf" } }),
    sticker: () => messages.sendSticker({ ...body, sticker: { id: "1" } }),
    location: () => messages.sendLocation({ ...body, location: { latitude: -33.45, longitude: -70.66, name: "Santiago", address: "CL" } }),
    contacts: () =>
      messages.sendContacts({ ...body, contacts: [{ name: { formattedName: "A B", firstName: "A" }, phones: [{ phone: to, type: "WORK" }] }] }),
    reaction: () => messages.sendReaction({ ...body, reaction: { messageId: wamid, emoji: "😀" } }),
    buttons: () =>
      messages.sendInteractiveButtons({
        ...body, header: { type: "image", image: { id: "1" } }, bodyText: "b", footerText: "f",
        buttons: [{ id: "a", title: "Yes" }, { id: "b", title: "No" }],
      }),
    list: () =>
      messages.sendInteractiveList({ ...body, bodyText: "b", buttonText: "Open", sections: [{ title: "S", rows: [{ id: "r", title: "R" }] }] }),
    link: () => messages.sendInteractiveCtaUrl({ ...body, bodyText: "b", parameters: { displayText: "See", url: "https://x.example?a=b" } }),
    carousel: () =>
      messages.sendInteractiveCarousel({
        ...body, bodyText: "b",
        cards: [0, 1].map((cardIndex) => ({
          cardIndex, header: { type: "image", image: { link: "https://x.example/1.jpg" } }, bodyText: "c",
          action: { type: "cta_url", displayText: "View", url: "https://x.example/1" },
        })),
      }),
    flow: () =>
      messages.sendInteractiveFlow({
        ...body, bodyText: "b",
        parameters: { flowId: "1", flowCta: "Open", flowToken: "t", flowAction: "navigate", flowActionPayload: { screen: "WELCOME" } },
      }),
    template: () =>
      messages.sendTemplate({
        ...body,
        template: {
          name: "order_ready", language: { code: "en_US" },
          components: [{ type: "body", parameters: [{ type: "text", text: "Jessica" }] },
            { type: "button", subType: "quick_reply", index: 0, parameters: [{ type: "payload", payload: "yes" }] }],
        },
      }),
  };
  for (const [name, send] of Object.entries(sends)) {
    await t.test(name, async () => {
      const answer = await send();
      assert.equal(answer.messagingProduct, "whatsapp");
      assert.deepEqual(answer.contacts, [{ input: to, waId: "16505551234" }]);
      assert.match(answer.messages[0].id, /^wamid\.HBg/);
      assert.equal(answer.messages[0].messageStatus, name === "template" ? "accepted" : undefined);
    });
  }
  await t.test("to a user id", async () => {
    const answer = await messages.sendText({ phoneNumberId, recipient: person, body: "hello" });
    assert.deepEqual(answer.contacts, [{ input: person, userId: person }]);
  });
  await t.test("mark as read, typing", async () => {
    const answer = await messages.markRead({ phoneNumberId, messageId: wamid, typingIndicator: { type: "text" } });
    assert.equal(answer.success, true);
  });
});

test("errors are what the client takes for Meta's", async (t) => {
  const meta = await pretendMeta("--rate", "20");
  await t.test("a dead token", async () => {
    const error = await failure(meta("old").messages.sendText({ phoneNumberId, to, body: "x" }));
    assert.equal(error.code, 190);
    assert.ok(error.isAuthError() && error.requiresTokenRefresh());
  });
  await t.test("a value that is wrong", async () => {
    const error = await failure(meta().messages.sendRaw({ phoneNumberId, payload: { messaging_product: "whatsapp", to, type: "text", text: { body: "" } } }));
    assert.equal(error.code, 100);
    assert.equal(error.httpStatus, 400);
    assert.match(error.details, /non-empty/);
    assert.ok(error.fbtraceId);
  });
  await t.test("too fast", async () => {
    const client = meta();
    const all = await Promise.allSettled(Array.from({ length: 60 }, () => client.messages.sendText({ phoneNumberId, to, body: "x" })));
    const refused = all.filter((result) => result.status === "rejected").map((result) => result.reason);
    assert.ok(refused.length > 0, "nothing was refused");
    for (const error of refused) {
      assert.equal(error.code, 130429);
      assert.ok(error.isRateLimit());
    }
  });
});

test("webhooks pass the client's own check, and it reads them", async () => {
  const meta = await pretendMeta("--webhook", `http://127.0.0.1:${app.address().port}/hook`);
  const callback = "order 7 / ☕";
  const sent = await meta().messages.sendText({ phoneNumberId, to, body: "x", bizOpaqueCallbackData: callback });
  const statuses = [];
  const seen = new Set();
  while (statuses.length < 3) {
    for (const { body, signature } of webhooks.filter((hook) => !seen.has(hook))) {
      assert.ok(verifySignature({ appSecret, rawBody: body, signatureHeader: signature }));
      assert.ok(!verifySignature({ appSecret: "another", rawBody: body, signatureHeader: signature }));
      statuses.push(...normalizeWebhook(JSON.parse(body)).statuses);
    }
    webhooks.forEach((hook) => seen.add(hook));
    if (statuses.length < 3) await once(app, "webhook");
  }
  assert.deepEqual(statuses.map((status) => status.status), ["sent", "delivered", "read"]);
  for (const status of statuses) {
    assert.equal(status.id, sent.messages[0].id);
    assert.equal(status.recipientId, "16505551234");
    assert.equal(status.bizOpaqueCallbackData, callback);
  }
});

test("sendlog itself is a Cloud API to the client, with an API key for the access token", async () => {
  const graph = await sendlog("listens", ["mock-graph", "--addr", "127.0.0.1:0", "--token", "EAAtoken"]);
  const data = fs.mkdtempSync(path.join(os.tmpdir(), "sendlog-"));
  after(() => fs.rmSync(data, { recursive: true }));
  const baseUrl = await sendlog("API", ["serve"], { DATA_DIR: data, PORT: "0", ADMIN_ADDR: "127.0.0.1:0", GRAPH_URL: graph, VERIFY_TOKEN: "verify me" });
  const registered = await fetch(`${baseUrl}/tenants/register`, {
    method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify({ name: "A", phoneNumberId, accessToken: "EAAtoken" }),
  });
  const { apiKey } = await registered.json();
  const client = new WhatsAppClient({ accessToken: apiKey, baseUrl });
  const answer = await client.messages.sendText({ phoneNumberId, to, body: "hello" });
  assert.deepEqual(answer.contacts, [{ input: to, waId: "16505551234" }]);
  assert.match(answer.messages[0].id, /^msg_/);
  const wrong = await failure(client.messages.sendRaw({ phoneNumberId, payload: { messaging_product: "whatsapp", to, type: "text", text: { body: "" } } }));
  assert.equal(wrong.code, 100);
  assert.match(wrong.details, /text\/body/);
  const stranger = await failure(new WhatsAppClient({ accessToken: "another key", baseUrl }).messages.sendText({ phoneNumberId, to, body: "x" }));
  assert.equal(stranger.code, 190);
  assert.ok(stranger.isAuthError());
});
