// SPDX-License-Identifier: Apache-2.0
// judge.mjs - what the vendors' own npm libraries say of a request, and how those that sign do so. A JSON object a line on stdin, its answer a line on stdout.
//
//   {"lib", "headers": {lower-case name: value}, "body": base64, "url", "secret"}         -> true or false; an exception is a refusal
//   {"lib", "sign": seconds, "body", "url", "secret"}                                     -> [[header, value], …]
//   {"which": true}                                                                       -> the libraries that are there
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const need = createRequire(process.cwd() + "/");

// Of a package that may only be imported: its door, from here.
async function esm(name) {
    const folder = `${process.cwd()}/node_modules/${name}/`;
    let door = JSON.parse(readFileSync(folder + "package.json", "utf8")).exports["."];
    while (typeof door !== "string") door = door.import ?? door.default;
    return import(pathToFileURL(folder + door));
}

const load = {
    stripe: () => need("stripe"),
    octokit: () => esm("@octokit/webhooks-methods"),
    svix: () => need("svix").Webhook,
    standard: () => need("standardwebhooks").Webhook,
    twilio: () => need("twilio"),
    line: () => need("@line/bot-sdk"),
    razorpay: () => need("razorpay"),
    paddle: () => new (need("@paddle/paddle-node-sdk").Paddle)("key"),
    discord: () => need("discord-interactions"),
    slack: () => need("@slack/bolt"),
    adyen: () => new (need("@adyen/api-library").hmacValidator)(),
    sendgrid: () => new (need("@sendgrid/eventwebhook").EventWebhook)(),
    gocardless: () => need("gocardless-nodejs/webhooks"),
    mux: () => new (need("@mux/mux-node").Mux)({ tokenId: "a", tokenSecret: "b" }),
};

const judges = {
    stripe: (lib, h, body, { secret }) => lib.webhooks.constructEvent(body, h["stripe-signature"], secret, 300) && true,
    octokit: (lib, h, body, { secret }) => lib.verify(secret, body.toString(), h["x-hub-signature-256"]),
    svix: (Lib, h, body, { secret }) => (new Lib(secret).verify(body.toString(), h), true),
    standard: (Lib, h, body, { secret }) => (new Lib(secret).verify(body.toString(), h), true),
    twilio: (lib, h, body, { secret, url }) => lib.validateRequest(secret, h["x-twilio-signature"], url, Object.fromEntries(new URLSearchParams(body.toString()))),
    line: (lib, h, body, { secret }) => lib.validateSignature(body, secret, h["x-line-signature"]),
    razorpay: (lib, h, body, { secret }) => lib.validateWebhookSignature(body.toString(), h["x-razorpay-signature"], secret),
    paddle: (lib, h, body, { secret }) => lib.webhooks.isSignatureValid(body.toString(), secret, h["paddle-signature"]),
    discord: (lib, h, body, { secret }) => lib.verifyKey(body, h["x-signature-ed25519"], h["x-signature-timestamp"], secret),
    slack: (lib, h, body, { secret }) => (lib.verifySlackRequest({ signingSecret: secret, body: body.toString(), headers: h }), true),
    adyen: (lib, h, body, { secret }) => lib.validateHMAC(JSON.parse(body).notificationItems[0].NotificationRequestItem, secret),
    sendgrid: (lib, h, body, { secret }) =>
        lib.verifySignature(lib.convertPublicKeyToECDSA(secret), body, h["x-twilio-email-event-webhook-signature"], h["x-twilio-email-event-webhook-timestamp"]),
    gocardless: (lib, h, body, { secret }) => (lib.verifySignature(body.toString(), secret, h["webhook-signature"]), true),
    mux: async (lib, h, body, { secret }) => (await lib.webhooks.verifySignature(body.toString(), h, secret), true),
};

const webhook = (prefix) => (Lib, now, body, { secret }) => {
    return [[prefix + "-id", "msg_1"], [prefix + "-timestamp", String(now)], [prefix + "-signature", new Lib(secret).sign("msg_1", new Date(now * 1000), body.toString())]];
};
const signers = {
    stripe: (lib, now, body, { secret }) => [["Stripe-Signature", lib.webhooks.generateTestHeaderString({ payload: body.toString(), secret, timestamp: now })]],
    octokit: async (lib, now, body, { secret }) => [["X-Hub-Signature-256", await lib.sign(secret, body.toString())]],
    svix: webhook("svix"),
    standard: webhook("webhook"),
    twilio: (lib, now, body, { secret, url }) => [
        ["X-Twilio-Signature", lib.getExpectedTwilioSignature(secret, url, Object.fromEntries(new URLSearchParams(body.toString())))],
        ["Content-Type", "application/x-www-form-urlencoded"],
    ],
};

const libs = {};
for (const [name, get] of Object.entries(load)) {
    try {
        libs[name] = await get();
    } catch (e) {
        process.stderr.write(`${name}: ${String(e).split("\n")[0]}\n`);
    }
}
console.error = console.warn = console.log = () => {}; // stdout is the answers'

async function answer(q) {
    if (q.which) return Object.keys(libs);
    const body = Buffer.from(q.body, "base64");
    if (q.sign !== undefined) return signers[q.lib](libs[q.lib], q.sign, body, q);
    try {
        return (await judges[q.lib](libs[q.lib], q.headers, body, q)) === true;
    } catch {
        return false;
    }
}

for await (const line of createInterface({ input: process.stdin })) process.stdout.write(JSON.stringify(await answer(JSON.parse(line))) + "\n");
