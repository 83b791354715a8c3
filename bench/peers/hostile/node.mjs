#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// A webhook receiver on Node's http as a careful developer writes it: route, method, coding, size, signature, gzip.
// Takes events and forgets them. For tests/e2e/hostile.py --peer. usage: node.mjs PORT SECRET [DEADLINE_MS]
import crypto from "node:crypto";
import http from "node:http";
import zlib from "node:zlib";

const [port, secret, deadline] = process.argv.slice(2);
const LIMIT = 1 << 20;

function refuse(res, status, error, headers = {}) {
  if (res.headersSent) return;
  res.writeHead(status, { "Content-Type": "application/json", ...headers });
  res.end(JSON.stringify({ error }) + "\n");
}

function tooLarge(req, res) {
  refuse(res, 413, "body too large", { Connection: "close" });
  res.on("finish", () => setTimeout(() => req.destroy(), 100));
}

function genuine(req, body) {
  const given = Buffer.from(req.headers["x-hub-signature-256"] ?? "");
  const mac = Buffer.from("sha256=" + crypto.createHmac("sha256", secret).update(body).digest("hex"));
  return given.length === mac.length && crypto.timingSafeEqual(given, mac);
}

function whole(req, res, body, coding) {
  if (!genuine(req, body)) return refuse(res, 401, "signature does not match");
  if (coding === "gzip" || coding === "x-gzip") {
    try {
      zlib.gunzipSync(body, { maxOutputLength: LIMIT });
    } catch (e) {
      return refuse(res, e.code === "ERR_BUFFER_TOO_LARGE" ? 413 : 400, "body is not gzip, or too large");
    }
  }
  res.writeHead(204);
  res.end();
}

function receive(req, res) {
  const path = new URL(req.url, "http://x").pathname;
  const coding = (req.headers["content-encoding"] ?? "").toLowerCase();
  if (path !== "/hooks/github") return refuse(res, 404, "no such route");
  if (req.method !== "POST") return refuse(res, 405, "method not allowed", { Allow: "POST" });
  if (!["", "identity", "gzip", "x-gzip"].includes(coding)) return refuse(res, 415, "content coding not supported");
  if (Number(req.headers["content-length"] ?? 0) > LIMIT) return tooLarge(req, res);
  const pieces = [];
  let n = 0;
  req.on("data", (piece) => {
    n += piece.length;
    if (n > LIMIT) return tooLarge(req, res);
    pieces.push(piece);
  });
  req.on("end", () => n <= LIMIT && whole(req, res, Buffer.concat(pieces), coding));
  req.on("error", () => {});
}

const server = http.createServer(deadline ? { connectionsCheckingInterval: 250 } : {}, (req, res) => {
  try {
    receive(req, res);
  } catch {
    refuse(res, 400, "malformed request");
  }
});
if (deadline) {
  server.headersTimeout = server.requestTimeout = server.keepAliveTimeout = server.timeout = Number(deadline);
}
server.listen(Number(port), "127.0.0.1", () => console.log("listening"));
